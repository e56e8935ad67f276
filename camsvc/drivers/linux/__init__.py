"""What several drivers ask of Linux: video nodes, webcams, holders of a device, kernel log."""
