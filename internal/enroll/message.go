package enroll

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

// A message is four bytes of length, big-endian, and so many of JSON, one object
// without unknown fields.
const (
	// maxRequest bounds what a gateway reads of a stranger: a CSR with an RSA key
	// of 4096 bits has 1,600 bytes.
	maxRequest = 16 << 10
	// maxQuestion bounds what the CA's process reads: one of those, or its settings.
	maxQuestion = maxRequest + 8<<10
	// maxAnswer holds the largest list of revoked certificates (16 MB, in base64).
	maxAnswer = 24 << 20
)

// What is asked for proves itself (docs/decisions/0200): who passes it on, a gateway or
// whoever took it over, sees no secret, and can neither change it nor ask by itself.

// enrollRequest is sent once the server has proved that it is the token's. The token's
// secret stays with the host, which signs with it (Token.proof).
type enrollRequest struct {
	Token string `json:"token"` // its id
	CSR   []byte `json:"csr"`   // PKCS #10, DER; only its key counts
	Proof []byte `json:"proof"`
}

// renewRequest is sent by a host with a certificate, and is one of three: a renewal, for
// which it has asked for a challenge before, or else a question of what to believe.
type renewRequest struct {
	Challenge bool         `json:"challenge,omitempty"`
	Renewal   *pki.Renewal `json:"renewal,omitempty"`
	// Known is the digest of what it believes already: the answer waits until
	// there is something else, or for as long as waitAtMost.
	Known []byte `json:"known,omitempty"`
}

// settings are the first that the CA's process hears.
type settings struct {
	Dir          string        `json:"dir"`
	Make         string        `json:"make,omitempty"`
	Passphrase   []byte        `json:"passphrase,omitempty"`
	NoPassphrase string        `json:"no_passphrase,omitempty"` // why there is none
	Own          []string      `json:"own"`
	Life         time.Duration `json:"life,omitempty"`
}

// question is what it is asked then: one of these; if it is none, what to believe.
type question struct {
	Enrolment *enrollRequest `json:"enrolment,omitempty"`
	Challenge bool           `json:"challenge,omitempty"`
	Renewal   *pki.Renewal   `json:"renewal,omitempty"`
	Source    netip.Addr     `json:"source,omitzero"` // of these, as who ends TLS says
	Own       *ownRequest    `json:"own,omitempty"`
	Rotation  bool           `json:"rotation,omitempty"`
}

// ownRequest is for a certificate of a host of the process that asks.
type ownRequest struct {
	Identity string       `json:"identity"`
	CSR      []byte       `json:"csr"`
	DNS      []string     `json:"dns,omitempty"`
	IPs      []netip.Addr `json:"ips,omitempty"`
}

// rotationNow is how the replacement of the root stands.
type rotationNow struct {
	Resting bool       `json:"resting,omitempty"`
	Waiting []string   `json:"waiting,omitempty"` // the hosts that it waits for
	Late    []lateHost `json:"late,omitempty"`
}

// lateHost has not renewed in time.
type lateHost struct {
	Identity string    `json:"identity"`
	Serial   string    `json:"serial"`
	End      time.Time `json:"end"`
}

// answer is what all get: an error for people, or a challenge, or a certificate (if
// asked for) and what to believe.
type answer struct {
	Error       string   `json:"error,omitempty"`
	Again       bool     `json:"again,omitempty"` // the error passes: the same request may be sent again
	Challenge   []byte   `json:"challenge,omitempty"`
	Certificate []byte   `json:"certificate,omitempty"` // DER
	Roots       [][]byte `json:"roots,omitempty"`       // DER
	// Endorsements come with a renewal while there are several roots: pki.CA.Endorsed.
	Endorsements [][]byte `json:"endorsements,omitempty"`
	Revocations  []byte   `json:"revocations,omitempty"` // PEM
	// Renew asks the host to renew soon, because a rotation of the CA's root waits
	// for it.
	Renew bool `json:"renew,omitempty"`

	// From the CA's process alone, and to its owner: nothing of it is passed on.
	Cause      string       `json:"cause,omitempty"` // of an error, with what strangers needn't read
	Deployment string       `json:"deployment,omitempty"`
	Locked     bool         `json:"locked,omitempty"`
	Rotation   *rotationNow `json:"rotation,omitempty"`
}

func send(w io.Writer, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

func receive(r io.Reader, most uint32, into any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > most {
		return fmt.Errorf("a message of %d bytes: at most %d are taken", size, most)
	}
	// Not all at once: who announces much need not send it.
	text, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return err
	}
	if len(text) < int(size) {
		return io.ErrUnexpectedEOF
	}
	if strictJSON(text, into) != nil {
		return errors.New("a message that is not of this protocol")
	}
	return nil
}
