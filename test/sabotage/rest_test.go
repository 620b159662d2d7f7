package sabotage_test

func restSabotages() []sabotage { return nil }
