"""What single models take and refuse: data that codecs ask for instead of testing names."""
