package verify

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

var (
	askForCertificates = []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(d)", "NIST SP 800-53r5 IA-3", "NIST SP 800-53r5 IA-9", "NIST SP 800-53r5 CA-8"}
	restartTheGateway  = "Something else than the gateway answers there, or it isn't the one that this deployment's configuration makes: look what listens on the port (ss -ltnp), and start redoubt gateway in its place."
)

var nobodyWithoutCertificate = Check{
	ID: "RD-201", Goal: evidence.Access, From: Anywhere,
	Title:      "Nobody is let in without a certificate",
	Why:        "Whoever reaches the port could try passwords, and every flaw of the engine that needs none.",
	Mend:       restartTheGateway,
	References: askForCertificates,
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		return refusedAtEach(ctx, t, n, "who shows no certificate", nil)
	},
}

var nobodyOfAnotherCA = Check{
	ID: "RD-202", Goal: evidence.Access, From: Anywhere,
	Title:      "A certificate of another CA, or of nobody, opens nothing",
	Why:        "Anybody can make a certificate that says whatever it likes; only who signed it tells it from a true one.",
	Mend:       restartTheGateway,
	References: append([]string{"NIST SP 800-53r5 SC-17"}, askForCertificates...),
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, f := range []struct {
			who, deployment string
			selfSigned      bool
		}{
			{"with the right names, signed by another CA", t.Deployment, false},
			{"with the right names, signed by itself", t.Deployment, true},
			{"of another deployment, signed by that one's CA", "redoubt-verify-other", false},
		} {
			forged, err := forge(f.deployment, f.selfSigned)
			if err != nil {
				return n.Fail("no certificate could be forged: %v", err)
			}
			if found := refusedAtEach(ctx, t, n, "a certificate "+f.who, forged); found.outcome != evidence.Pass {
				return found
			}
		}
		return n.Pass("each is refused")
	},
}

// What the deployment's own CA signed, and is not good (any more), can only be tried
// where the CA lies. The certificates that it issues for that are in its record
// under names that begin so, live for minutes, and are revoked. Each has a name of its
// own: who is revoked is revoked with all certificates of the name, and that must be
// neither a host's nor another verification's.
const probePrefix = pki.ProbePrefix

// needCA: certificates can be issued here.
func needCA(_ context.Context, t *Target) string {
	if t.Cache == nil || t.Cache.CA == "" {
		return "needs the deployment's CA, which is not on this host: run redoubt verify where it lies"
	}
	info, err := os.Stat(t.Cache.CA)
	if err == nil && ownerOf(info) != os.Geteuid() {
		return fmt.Sprintf("needs the deployment's CA, which belongs to uid %d: what root wrote there that user could write no more", ownerOf(info))
	}
	if _, err := openCA(t); err != nil {
		return fmt.Sprintf("needs the deployment's CA: %v", err)
	}
	return ""
}

func openCA(t *Target) (*pki.CA, error) {
	ca, err := pki.Open(t.Cache.CA, t.Cache.Unlock)
	if err == nil && ca.Locked() {
		err = errors.New("its key is encrypted, and the passphrase is not at hand")
	}
	return ca, err
}

// issueProbe makes a certificate of an application host that there isn't.
func issueProbe(t *Target, life time.Duration) (ca *pki.CA, id identity.ID, leaf *pki.Leaf, err error) {
	return issueProbeOf(t, identity.App, life)
}

// issueProbeOf makes one of either role; a gateway's is good for asking.
func issueProbeOf(t *Target, role identity.Role, life time.Duration) (ca *pki.CA, id identity.ID, leaf *pki.Leaf, err error) {
	t.recordsAsFound() // before this writes
	if ca, err = openCA(t); err != nil {
		return nil, id, nil, err
	}
	if id, err = identity.New(t.Deployment, role, probePrefix+strings.ToLower(rand.Text())); err != nil {
		return nil, id, nil, err
	}
	leaf, err = ca.Issue(pki.Request{ID: id, Life: life, Asks: true})
	return ca, id, leaf, err
}

var nobodyWhoseCertificateEnded = Check{
	ID: "RD-203", Goal: evidence.Access, From: OnCache,
	Title:      "A certificate that has ended opens nothing",
	Why:        "Certificates live for days so that a stolen one is worth nothing soon; where the end isn't looked at, it is worth all for ever.",
	Mend:       restartTheGateway,
	References: askForCertificates,
	Needs:      []Need{needDoor, needCA},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		const life = 2 * time.Second
		_, _, leaf, err := issueProbe(t, life)
		if err != nil {
			return n.Skip("no certificate to try it with: %v", err)
		}
		pair := leaf.Pair()
		door := t.Doors[0].Address
		answer, _, err := knock(ctx, door, attacker(&pair))
		if errors.Is(err, errUnreachable) {
			return n.Skip("%v", err)
		}
		n.Saw("%s, while it is good: %s %v", door, code(answer), err)
		if err != nil {
			return n.Skip("a good certificate is refused there too, so that nothing is shown: %v", err)
		}
		if err := waitUntil(ctx, leaf.Certificate().NotAfter.Add(time.Second)); err != nil {
			return n.Skip("%v", err)
		}
		return refusedAtEach(ctx, t, n, "a certificate that has ended", &pair)
	},
}

var nobodyWhoWasRevoked = Check{
	ID: "RD-204", Goal: evidence.Access, From: OnCache,
	Title:      "A revoked certificate opens nothing, seconds after it was revoked",
	Why:        "It is how a lost or taken host is shut out.",
	Mend:       "Look whether the gateway follows the list of revoked certificates (its log, tls.crl or pki.dir in gateway.yaml), and restart it.",
	References: askForCertificates,
	Needs:      []Need{needDoor, needCA},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		ca, id, leaf, err := issueProbe(t, 5*time.Minute)
		if err != nil {
			return n.Skip("no certificate to try it with: %v", err)
		}
		pair := leaf.Pair()
		door := t.Doors[0].Address
		answer, _, knocked := knock(ctx, door, attacker(&pair))
		if knocked != nil {
			return n.Skip("a good certificate is refused there too, so that nothing is shown: %v", knocked)
		}
		live, _, err := shakeHands(ctx, door, attacker(&pair))
		if err != nil {
			return n.Skip("no second connection could be made: %v", err)
		}
		defer live.Close()
		held := heldConnection{live}
		renewing, challenge := renewal(ctx, n, door, &pair)
		if renewing != nil {
			defer renewing.Close()
		}
		if _, err := newConversation(live).do("PING"); err != nil {
			return n.Skip("no second connection could be used: %v", err)
		}
		if _, err := ca.Revoke(id); err != nil {
			return n.Fail("it can't be revoked: %v", err)
		}
		n.Saw("%s, before it is revoked: %s %v", door, code(answer), knocked)
		if renewing != nil {
			certified, answer, err := renews(renewing, &pair, challenge)
			n.Saw("%s, asked to renew it at the moment of its revocation: %s %v", door, answer, err)
			if err != nil {
				return n.Skip("the answer of who renews certificates can't be read: %v", err)
			}
			if certified {
				return n.Fail("%s renews a certificate that was just revoked: whoever has it is back for good", door)
			}
		}
		// Gateways look at the list each second.
		const seconds = 3
		for until := time.Now().Add(seconds * time.Second); knocked == nil && time.Now().Before(until); {
			if err := waitUntil(ctx, time.Now().Add(200*time.Millisecond)); err != nil {
				return n.Skip("%v", err)
			}
			_, _, knocked = knock(ctx, door, attacker(&pair))
		}
		if err := held.ends(); err != nil {
			return n.Fail("%s leaves a connection up that was open when its certificate was revoked: %v", door, err)
		}
		n.Saw("%s, a connection from before: ended", door)
		return refusedAtEach(ctx, t, n, "a revoked certificate", &pair)
	},
}

// heldConnection is one that is open while its certificate is revoked.
type heldConnection struct{ conn *tls.Conn }

// ends says why it has not ended, seconds after.
func (h heldConnection) ends() error {
	if err := h.conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	_, err := h.conn.Read(make([]byte, 1))
	if err == nil {
		return errors.New("it even answers")
	}
	if !closed(err) {
		return err
	}
	return nil
}

// renewal is a connection to where certificates are renewed, and what is to be signed
// there; nil if nobody does it.
func renewal(ctx context.Context, n *Notes, door string, pair *tls.Certificate) (conn *tls.Conn, challenge []byte) {
	cfg := attacker(pair)
	cfg.NextProtos = []string{tunnel.Renew}
	conn, _, err := shakeHands(ctx, door, cfg)
	if err != nil {
		n.Saw("%s renews no certificates: %v", door, err)
		return nil, nil
	}
	said, why, err := asksRenewer(conn, map[string]any{"challenge": true})
	if err != nil || len(said.Challenge) == 0 {
		n.Saw("%s renews no certificates: %s %v", door, cmp.Or(why, said.Error), err)
		conn.Close()
		return nil, nil
	}
	return conn, said.Challenge
}

// renews asks for a certificate over such a connection. It returns what was answered.
func renews(conn *tls.Conn, pair *tls.Certificate, challenge []byte) (certified bool, answer string, err error) {
	_, text, err := pki.NewRequest(pki.ECDSA)
	if err != nil {
		return false, "", err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return false, "", errors.New("the key can't sign")
	}
	block, _ := pem.Decode(text)
	request, err := pki.NewRenewal(pair.Leaf, key, block.Bytes, challenge)
	if err != nil {
		return false, "", err
	}
	said, why, err := asksRenewer(conn, map[string]any{"renewal": request})
	return len(said.Certificate) > 0, cmp.Or(why, said.Error), err
}

// renewerSays is what is looked at of an answer.
type renewerSays struct {
	Error       string `json:"error"`
	Challenge   []byte `json:"challenge"`
	Certificate []byte `json:"certificate"`
}

// asksRenewer asks as package enroll does: a JSON object behind its length. Of a
// connection that ends, why says how; err is of an answer that can't be read.
func asksRenewer(conn *tls.Conn, question any) (said renewerSays, why string, err error) {
	request, err := json.Marshal(question)
	if err != nil {
		return said, "", err
	}
	if err := conn.SetDeadline(time.Now().Add(knockWithin)); err != nil {
		return said, "", err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return said, err.Error(), nil
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return said, err.Error(), nil
	}
	text, err := io.ReadAll(io.LimitReader(conn, int64(min(binary.BigEndian.Uint32(size[:]), 24<<20))))
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	return said, "", err
}

func waitUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

var nobodyOfAnotherRole = Check{
	ID: "RD-205", Goal: evidence.Access, From: OnCache,
	Title:      "A gateway's certificate doesn't pass for an application host's",
	Why:        "Else whoever takes one cache host reads all others.",
	Mend:       restartTheGateway,
	References: append([]string{"NIST SP 800-53r5 AC-6"}, askForCertificates...),
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		own, err := ownCertificate(t.Cache.Certificates)
		if err != nil {
			return n.Skip("this host's certificate can't be read: %v", err)
		}
		found := refusedAtEach(ctx, t, n, "the gateway's own certificate, as a client's", own)
		if found.outcome != evidence.Pass {
			return found
		}
		// That one is refused for its use already. Whether the role is looked at shows
		// one that is good for asking, which the CA makes for nobody else.
		if why := needCA(ctx, t); why != "" {
			n.Saw("not tried: a gateway's certificate that is good for asking (it %s)", why)
			return found
		}
		ca, id, leaf, err := issueProbeOf(t, identity.Gateway, 5*time.Minute)
		if err != nil {
			return n.Skip("no certificate to try it with: %v", err)
		}
		pair := leaf.Pair()
		found = refusedAtEach(ctx, t, n, "a gateway's certificate that is good for asking", &pair)
		if _, err := ca.Revoke(id); err != nil {
			return n.Fail("it can't be revoked: %v", err)
		}
		return found
	},
}

// rootsNotice is how long before its end a root is called out: to replace one takes as
// long as all hosts take to renew.
const rootsNotice = 30 * 24 * time.Hour

var certificateIsGood = Check{
	ID: "RD-209", Goal: evidence.Access, From: OnBoth, Cheap: true,
	Title:      "This host's certificate is the deployment's, strong, its own, and has time left",
	Why:        "One that ends takes the cache away from its applications; a weak or foreign one lets others be this host.",
	Mend:       "Look why it is not renewed (redoubt status, the log); issue another one: redoubt join on an application host, redoubt pki issue for a gateway (docs/certificates.md).",
	References: []string{"45 CFR 164.312(d)", "NIST SP 800-53r5 IA-5", "NIST SP 800-53r5 SC-12", "NIST SP 800-53r5 SC-17", "NIST SP 800-57pt1r5"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		good := 0
		for _, h := range t.hosts() {
			if h.files.Certificate == "" {
				return n.Skip("its certificate comes from a Workload API and is in no file")
			}
			credentials, err := tunnel.LoadCredentials(h.files, h.rules...)
			if errors.Is(err, fs.ErrPermission) {
				return n.Skip("needs root, or the user that it belongs to: %v", err)
			}
			if err != nil {
				return n.Fail("%v", err)
			}
			cert := credentials.Certificate()
			d := pki.Describe(cert, time.Now())
			n.Saw("%s: %s, %s, from %s to %s", h.files.Certificate, credentials.ID(), d.KeyType, cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339))
			n.Fact("key of the "+string(credentials.ID().Role()), d.KeyType)
			if credentials.ID().Role() != h.role || credentials.ID().Deployment() != t.Deployment {
				return n.Fail("%s is of %s, not of this host", h.files.Certificate, credentials.ID())
			}
			if err := credentials.OwnRevoked(); err != nil {
				return n.Fail("%s: %v", h.files.Certificate, err)
			}
			life, left := cert.NotAfter.Sub(cert.NotBefore), time.Until(cert.NotAfter)
			if left < life/4 { // its renewal is overdue, which is tried from a third on
				return n.Fail("%s has %s of its %s left and was not renewed", h.files.Certificate, left.Round(time.Minute), life.Round(time.Hour))
			}
			for _, root := range credentials.Roots() {
				n.Saw("believed besides: %s, until %s", root.Subject, root.NotAfter.UTC().Format(time.RFC3339))
				if left := time.Until(root.NotAfter); left < rootsNotice {
					return n.Fail("the CA %s ends in %s, and with it every host's certificate: replace it (redoubt pki rotate)", root.Subject, left.Round(time.Hour))
				}
			}
			good++
		}
		return n.Pass("good: %d", good)
	},
}

// A hostIdentity is one of this host's identities.
type hostIdentity struct {
	role  identity.Role
	files tunnel.Files
	rules []tunnel.Rule
}

func (t *Target) hosts() (list []hostIdentity) {
	if t.Cache != nil {
		list = append(list, hostIdentity{identity.Gateway, t.Cache.Certificates, t.Cache.Rules})
	}
	if t.App != nil {
		list = append(list, hostIdentity{identity.App, t.App.Certificates, t.App.Rules})
	}
	return list
}

var gatewayIsTheOne = Check{
	ID: "RD-210", Goal: evidence.Access, From: OnApp,
	Title:      "At the other end is the gateway that the configuration names",
	Why:        "Who can answer in its place reads all that the application sends, its password first.",
	Mend:       "Look what answers at that address. If the gateway's certificate is wrong, issue it anew (redoubt pki issue).",
	References: []string{"45 CFR 164.312(d)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 IA-9", "NIST SP 800-53r5 SC-23"},
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		credentials, err := tunnel.LoadCredentials(t.App.Certificates, t.App.Rules...)
		if err != nil {
			return n.Skip("this host's certificate can't be read: %v", err)
		}
		for _, door := range t.Doors {
			conn, err := (&tunnel.Dialer{Credentials: credentials}).Dial(ctx, door)
			if err != nil {
				n.Saw("%s: %v", door.Address, err)
				return n.Fail("%s doesn't prove to be %s: %v", door.Address, door.ID, err)
			}
			conn.Close()
			n.Saw("%s: chain, role, deployment and name prove %s", door.Address, door.ID)
		}
		return n.Pass("each gateway has proved who it is")
	},
}
