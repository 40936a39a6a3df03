"""Plan floor: pure. Which days, which steps, which SQL; opens nothing and reads no clock."""
