package verify

// Checks are all there are, in the order of a report.
func Checks() []Check {
	return []Check{
		// 1: the environment
		engineListensNowhere,
		rolesListenAsConfigured,
		filterIsInForce,
		loopbackIsOurs,
		sshIsWhereTheFilterLooks,
		filterIsKept,
		nothingIsDisguised,
		sshTakesKeysOnly,
		sshLetsNoRootIn,
		sshForwardsNothing,
		sshIsModern,
		rootIsAlone,
		updatesThemselves,
		hostIsAsApplied,
		outsiderMeetsNoCache,
		outsiderMeetsNoSSH,
		outsiderMeetsNothingElse,

		// 2: access
		nobodyWithoutCertificate,
		nobodyOfAnotherCA,
		nobodyWhoseCertificateEnded,
		nobodyWhoWasRevoked,
		nobodyOfAnotherRole,
		certificateAloneOpensNothing,
		wrongPasswordIsRefused,
		secretsAreTheirOwners,
		noSecretLiesOpen,
		certificateIsGood,
		gatewayIsTheOne,
		sidecarWantsThePassword,
		sidecarIsLocal,
		nothingPassesItOn,
		sidecarRefusesAWrongPassword,

		// 3: in flight
		nothingInTheClear,
		nothingOlderThanTLS13,
		strongTLS,
		nothingIsResumed,
		nothingElseIsSpoken,

		// 4: at rest
		canaryStaysInMemory,
		nothingIsSwapped,
		rolesLeaveNoDump,
		nothingSecretIsShown,
		canaryPassesTheSidecar,
		nobodyCaptures,
		callsAreFiltered,
		engineIsNobody,
		engineIsApart,
		engineLeavesNoDump,
		engineWritesNoFile,
		engineHoldsNoFile,
		runDirHoldsTheSocket,
		sandboxRefuses,
		swapIsClosed,
		dumpsGoNowhere,
		hostDoesNotHibernate,
		noCrashKernel,
		nobodyIsTraced,
		noHugePages,
		disksAreEncrypted,

		// 5: no change
		settingsAreRendered,
		usersAreRendered,
		commandsAreRefused,
		commandsAreRefusedToTheApplication,
		attemptsAreRefused,
		scriptsAreRefused,
		configurationIsRead,
		passwordsAreTheFiles,
		noModules,
		noReplication,
		engineIsMended,
		codeIsRoots,

		// 6: documented
		noExceptionHasEnded,
		ledgerIsWhole,
		logIsWhole,
		clockIsInStep,
		logsAreKept,
	}
}
