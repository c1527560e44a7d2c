"""The sources that come with Pilotfish. They are plugins like any other, found through their entry points."""
