package pki

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// The ledger is a text that people can read:
//
//	redoubt ledger 2
//	signer ROOT
//	crl NUMBER
//	ban IDENTITY NUMBER SINCE BACK
//	…
//	leaf SERIAL IDENTITY ISSUED END ROOT ROOT[,ROOT] REVOKED
//	…
//	signature BASE64
//
// A line for each host that was revoked (bans.go), by identity. Then one for each
// certificate, in the order of their issue: its serial in hex,
// whose it is, from when to when it is good, which root signed it, which roots
// its host was told to believe, and when it was revoked, or "-". The signature is
// by the root that signs certificates now, over all that stands before it.
// There is one way to write a ledger, and no other is read; but for those of the
// version before, which had no bans.
const (
	ledgerMagic  = "redoubt ledger 2\n"
	ledgerMagic1 = "redoubt ledger 1\n"
	// maxLedger bounds it to some 150,000 certificates.
	maxLedger = 32 << 20
)

type ledger struct {
	signer  string // root that signs certificates
	crl     uint64 // number of the CRLs that say what is revoked here (RFC 5280 §5.2.3)
	bans    []ban  // in the order of their identities' texts
	entries []entry
}

// entry is a certificate that was issued.
type entry struct {
	serial  *big.Int
	id      identity.ID
	issued  time.Time
	end     time.Time
	root    string
	bundle  []string
	revoked time.Time // zero: it isn't
}

// Issued is a certificate in the ledger.
type Issued struct {
	Identity identity.ID `json:"identity"`
	Serial   string      `json:"serial"` // hex
	Issued   time.Time   `json:"issued"`
	End      time.Time   `json:"end"`
	Root     string      `json:"root"` // fingerprint's first half
	Status   Status      `json:"status"`
	Revoked  *time.Time  `json:"revoked,omitempty"`
}

// Status is what a certificate is worth.
type Status string

// The statuses.
const (
	Living  Status = "living"
	Revoked Status = "revoked"
	Ended   Status = "ended" // its time is over, or its root is
)

// Issued is the ledger (Archived has what it has forgotten): every certificate that was issued and lives, or has not
// ended long ago, in the order of their issue.
func (ca *CA) Issued() (list []Issued, err error) {
	err = ca.look(func(s *state) error {
		now := time.Now()
		for _, e := range s.ledger.entries {
			list = append(list, e.shown(now, s.roots))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return list, nil
}

// Late are the newest certificates of the hosts that should have renewed by now: they
// live, with less than a quarter of their life left (renewal is tried from a third on).
func (ca *CA) Late() (list []Issued, err error) {
	err = ca.look(func(s *state) error {
		now := time.Now()
		newest := make(map[identity.ID]*entry)
		for i := range s.ledger.entries { // in the order of their issue
			e := &s.ledger.entries[i]
			newest[e.id] = e
		}
		for i := range s.ledger.entries {
			e := &s.ledger.entries[i]
			if newest[e.id] == e && e.living(now, s.roots) && e.end.Sub(now) < e.end.Sub(e.issued)/4 {
				list = append(list, e.shown(now, s.roots))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return list, nil
}

func (e *entry) shown(now time.Time, roots []*root) Issued {
	i := Issued{Identity: e.id, Serial: serialText(e.serial), Issued: e.issued, End: e.end, Root: e.root, Status: Ended}
	if e.living(now, roots) {
		i.Status = Living
	}
	if !e.revoked.IsZero() {
		i.Status, i.Revoked = Revoked, &e.revoked
	}
	return i
}

// living tells whether a certificate still opens a door that hosts of these
// roots guard.
func (e *entry) living(now time.Time, roots []*root) bool {
	return e.revoked.IsZero() && now.Before(e.end) && findRoot(roots, e.root) != nil
}

func (l *ledger) clone() *ledger {
	return &ledger{l.signer, l.crl, slices.Clone(l.bans), slices.Clone(l.entries)}
}

// forget drops what ended so long ago that no clock makes it live again which was wrong
// by less than memory, and returns its lines.
func (l *ledger) forget(now time.Time) (lines []string) {
	l.entries = slices.DeleteFunc(l.entries, func(e entry) bool {
		old := now.After(e.end.Add(memory))
		if old {
			lines = append(lines, e.String())
		}
		return old
	})
	return append(lines, l.forgetBans(now)...)
}

// encode writes the ledger and signs it.
func (l *ledger) encode(signer *root) ([]byte, error) {
	text := l.body(ledgerMagic)
	signature, err := signer.sign(text)
	if err != nil {
		return nil, err
	}
	text = fmt.Appendf(text, "signature %s\n", base64.StdEncoding.EncodeToString(signature))
	if len(text) > maxLedger {
		return nil, fmt.Errorf("%d certificates are more than it can hold: shorten their life, or look who asks for so many", len(l.entries))
	}
	return text, nil
}

// body is all that is signed, in a version's form.
func (l *ledger) body(magic string) []byte {
	text := fmt.Appendf(nil, "%ssigner %s\ncrl %d\n", magic, l.signer, l.crl)
	for i := range l.bans {
		text = fmt.Appendf(text, "%s\n", &l.bans[i])
	}
	for i := range l.entries {
		text = fmt.Appendf(text, "%s\n", &l.entries[i])
	}
	return text
}

func (e *entry) String() string {
	revoked := "-"
	if !e.revoked.IsZero() {
		revoked = e.revoked.Format(time.RFC3339)
	}
	return strings.Join([]string{"leaf", serialText(e.serial), e.id.String(), e.issued.Format(time.RFC3339),
		e.end.Format(time.RFC3339), e.root, strings.Join(e.bundle, ","), revoked}, " ")
}

// serialText is how a serial is written for people: hex, two digits an octet.
func serialText(serial *big.Int) string { return hex.EncodeToString(serial.Bytes()) }

var errNoLedger = errors.New("not a whole ledger of ours")

// parseLedger reads what encode wrote for a CA with these roots.
func parseLedger(text []byte, deployment string, roots []*root) (*ledger, error) {
	at := bytes.LastIndex(text, []byte("\nsignature ")) + 1
	if at == 0 {
		return nil, errNoLedger
	}
	body, tail := text[:at], strings.TrimPrefix(string(text[at:]), "signature ")
	tail, whole := strings.CutSuffix(tail, "\n")
	signature, err := base64.StdEncoding.Strict().DecodeString(tail)
	if err != nil || !whole {
		return nil, errNoLedger
	}
	lines := strings.Split(string(body), "\n")
	if len(lines) < 4 {
		return nil, errNoLedger
	}
	l := &ledger{signer: strings.TrimPrefix(lines[1], "signer ")}
	signer := findRoot(roots, l.signer)
	if signer == nil {
		return nil, fmt.Errorf("it is signed by a root that %s doesn't hold", caCertFile)
	}
	if signer.verify(body, signature) != nil {
		return nil, errors.New("its signature isn't good: something else than redoubt changed it")
	}
	if l.crl, err = strconv.ParseUint(strings.TrimPrefix(lines[2], "crl "), 10, 63); err != nil {
		return nil, errNoLedger
	}
	for i, line := range lines[3 : len(lines)-1] {
		if err := l.take(line, deployment); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+4, err)
		}
	}
	magic := ledgerMagic
	if lines[0]+"\n" == ledgerMagic1 && len(l.bans) == 0 {
		magic = ledgerMagic1
	}
	if !bytes.Equal(l.body(magic), body) {
		return nil, errNoLedger
	}
	if magic == ledgerMagic1 {
		l.banTheRevoked()
	}
	return l, nil
}

// take reads a line of a ban or a certificate.
func (l *ledger) take(line, deployment string) (err error) {
	var b ban
	var e entry
	if strings.HasPrefix(line, "ban ") {
		b, err = parseBan(line)
		l.bans = append(l.bans, b)
	} else {
		e, err = parseEntry(line)
		l.entries = append(l.entries, e)
	}
	if err != nil {
		return err
	}
	if id := cmp.Or(b.id, e.id); id.Deployment() != deployment {
		return fmt.Errorf("%s is of another deployment", id)
	}
	if n := len(l.bans); b.number > l.crl || n > 1 && l.bans[n-2].id.String() >= l.bans[n-1].id.String() {
		return errNoLedger
	}
	return nil
}

func parseEntry(line string) (e entry, err error) {
	fields := strings.Split(line, " ")
	if len(fields) != 8 {
		return entry{}, errors.New("not a line of ours")
	}
	serial, err := hex.DecodeString(fields[1])
	if err != nil || len(serial) > 20 { // octets, RFC 5280 §4.1.2.2
		return entry{}, errors.New("holds no serial number where one belongs")
	}
	e.serial = new(big.Int).SetBytes(serial)
	if e.id, err = identity.Parse(fields[2]); err != nil {
		return entry{}, err
	}
	if e.issued, err = parseMoment(fields[3]); err != nil {
		return entry{}, err
	}
	if e.end, err = parseMoment(fields[4]); err != nil {
		return entry{}, err
	}
	e.root, e.bundle = fields[5], strings.Split(fields[6], ",")
	if fields[7] != "-" {
		e.revoked, err = parseMoment(fields[7])
	}
	return e, err
}

func parseMoment(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("holds no moment where one belongs")
	}
	return t.UTC(), nil
}
