// Package enroll gets certificates to hosts over the tunnel's own port: the
// first one for a token, each further one for the one before.
//
// Where the CA lies, "redoubt token" keeps Tokens. A gateway there starts a Signer, the
// process that has the CA's key (process.go; main hands its Role to the sandbox), and
// has a Server, whose Enroll and Renew it calls for the two protocols (tunnel.Enroll and
// tunnel.Renew), and which passes on what comes. On a new host "redoubt join" calls Join.
// Every host then runs a Renewer, which renews its certificate and has what its CA
// believes and revokes brought up to date; a gateway beside the CA has a Renewer too, which asks the CA
// itself.
//
// It guarantees:
//   - A key never leaves the host that made it.
//   - What is asked for proves itself, to the CA: who ends TLS is believed in nothing
//     (docs/decisions/0200). A renewal is signed by the host's present key over a
//     challenge, and good once; a token signs its host's request, and is never sent.
//   - A host that joins asks nobody but a server whose chain ends in the very CA that
//     the token names, and that is one of the gateways that it names.
//   - A token is good for one key, whoever asks, however many at once, and through
//     whichever gateway or process: using it makes a file that names the request, which
//     comes before the certificate. Whatever is killed meanwhile, the same request gets
//     it a certificate. What is kept of a token makes none.
//   - The CA's key and ledger are opened by the signer alone.
//   - Who guesses tokens is slowed down, by source and in all.
//   - What a host is named says the token, or the ledger; nothing that it sends does.
//   - The files of a host are whole and belong together at every moment, whenever
//     it is cut off.
//
// It never writes a secret to a log or an error.
//
// A message is one JSON object behind its length (message.go); both ends bound
// it before reading it. The tests attack with replays, guesses, men in the
// middle, taken fronts, restarts and races, and fuzz the messages and tokens; they kill the
// signer, and ask it all that a taken owner could.
package enroll
