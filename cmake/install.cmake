# Where `cmake --install` puts things: mount(8) looks for mount.polder in /sbin, systemd for units in lib/systemd.
include(GNUInstallDirs)
install(TARGETS polder RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS polderd mount.polder RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(FILES tools/polderd/systemd/polderd.service tools/polderd/systemd/polderd@.service DESTINATION lib/systemd/system)
