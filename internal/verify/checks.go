package verify

// Checks are all there are, in the order of a report.
func Checks() []Check {
	return []Check{
		// 1: the environment

		// 2: access

		// 3: in flight

		// 4: at rest

		// 5: no change
		settingsAreRendered,
		usersAreRendered,
		commandsAreRefused,
		commandsAreRefusedToTheApplication,
		attemptsAreRefused,
		scriptsAreRefused,
		configurationIsRead,
		noModules,
		noReplication,
		engineIsMended,

		// 6: documented
		noExceptionHasEnded,
		ledgerIsWhole,
	}
}
