"""What several drivers ask of Linux: video nodes, holders of a device, kernel log."""
