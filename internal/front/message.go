package front

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/redoubt-cache/redoubt/internal/gateway"
)

// Keeper and front talk over a socket of kind SOCK_SEQPACKET: a message comes whole or
// not at all. Each is one JSON object; descriptors come along from the keeper only, since
// the front can't send any.
const (
	// maxMessage bounds one: the largest is a renewal's, with a chain of certificates.
	maxMessage = 64 << 10
	// maxState bounds what the front is told in memory: credentials with the largest list
	// of revoked certificates (16 MB, in base64).
	maxState = 32 << 20
	// maxAsks is how many of the front's asks are answered at once. Further ones wait.
	maxAsks = 64
	// askTimeout is how long either waits for an answer of the other.
	askTimeout = 5 * time.Second
)

// kind says what a message is about. What is asked for has a number, by which the answer
// is known.
type kind string

const (
	kindState  kind = "state"  // keeper: here is a state (memory, at first the listener too)
	kindReady  kind = "ready"  // front: connections are taken
	kindDrain  kind = "drain"  // keeper: bring all connections to an end, and end
	kindLane   kind = "lane"   // front asks for a connection to the engine
	kindEnroll kind = "enroll" // front asks for one to what serves enrolment
	kindRenew  kind = "renew"  // and renewal
	kindStatus kind = "status" // keeper asks
	kindAlive  kind = "alive"  // keeper asks whether the event loops turn
)

// toFront is what the keeper says.
type toFront struct {
	Kind   kind   `json:"kind"`
	Number uint64 `json:"number,omitempty"`
	Error  string `json:"error,omitempty"` // in the place of a connection that was asked for
}

// toKeeper is what the front says: possibly the words of whoever has taken it.
type toKeeper struct {
	Kind   kind            `json:"kind"`
	Number uint64          `json:"number,omitempty"`
	Status *gateway.Status `json:"status,omitempty"`
	Alive  bool            `json:"alive,omitempty"`
	Source netip.Addr      `json:"source,omitzero"` // of who enrols or renews
	Chain  [][]byte        `json:"chain,omitempty"` // of who renews, DER
}

// state is what the front goes by. What is nil or empty stays as it was.
type state struct {
	Credentials json.RawMessage   `json:"credentials,omitempty"` // tunnel.Credentials.Pass
	Settings    *gateway.Settings `json:"settings,omitempty"`
	First       *first            `json:"first,omitempty"` // with the first one only
}

// first is what stays as it is for a front's life.
type first struct {
	Enroll, Renew bool // whether these protocols are served
	Debug         bool // whether it logs for debugging
}

func strictly(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one object")
	}
	return nil
}

var errMessage = errors.New("the front said what is not of this protocol")

// parse reads a message of the front's, and refuses what a front never says.
func parse(text []byte) (m toKeeper, err error) {
	if len(text) > maxMessage || strictly(text, &m) != nil {
		return m, errMessage
	}
	good := false
	switch m.Kind {
	case kindReady:
		good = m.Number == 0
	case kindLane, kindAlive:
		good = m.Number > 0
	case kindEnroll:
		good = m.Number > 0 && m.Source.IsValid()
	case kindRenew:
		good = m.Number > 0 && m.Source.IsValid() && len(m.Chain) > 0
	case kindStatus:
		good = m.Number > 0 && m.Status != nil
	}
	if !good {
		return m, errMessage
	}
	return m, nil
}

// pair makes a socket of two ends: the keeper's, and the front's as it is handed over.
func pair(whole bool) (*net.UnixConn, *os.File, error) {
	fds, err := socketPair(whole)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "front")
	ours, err := connOf(fds[0], "keeper")
	if err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// connOf makes a connection of a descriptor, which it takes.
func connOf(fd int, name string) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("a %T, and not a unix socket", conn)
	}
	return unixConn, nil
}

// inMemory puts a state in memory that can be handed over: a file without a name, sealed
// (memfd_create(2)).
func inMemory(s state) (*os.File, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if len(text) > maxState {
		return nil, fmt.Errorf("the front's state has %d bytes, at most %d can be handed over", len(text), maxState)
	}
	return memory(text)
}

func readState(file *os.File) (s state, err error) {
	text, err := io.ReadAll(io.NewSectionReader(file, 0, maxState))
	if err != nil {
		return s, err
	}
	return s, strictly(text, &s)
}
