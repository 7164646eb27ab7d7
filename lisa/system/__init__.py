"""What knows nothing of faces and networks: files and folders, processes, sockets, the console."""
