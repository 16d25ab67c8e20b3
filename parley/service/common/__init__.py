"""What the rooms of the service share: settings, who calls, replies being written, problems."""
