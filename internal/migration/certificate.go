package migration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A judgement is what is weak about a certificate.
type judgement struct {
	leaf  *x509.Certificate // nil: it could not be read here
	weak  []string
	cause error
}

// text is the judgement as the beginning of a reason.
func (j judgement) text() string {
	switch {
	case len(j.weak) > 0:
		return "The certificate " + strings.Join(j.weak, ", ") + ". "
	case j.cause != nil:
		return "It could not be looked at here (" + j.cause.Error() + "). "
	}
	return ""
}

// longLife is the longest that Redoubt's own CA issues, as public ones
// (CA/Browser Forum, Ballot SC31).
const longLife = 398 * 24 * time.Hour

// judgeLeaf looks at the first certificate of a PEM file, a host's own.
func judgeLeaf(path string, now time.Time) (j judgement) {
	certs, err := readCertificates(path)
	if err != nil {
		return judgement{cause: err}
	}
	c := certs[0]
	j.leaf = c
	j.strength(c)
	if life := c.NotAfter.Sub(c.NotBefore); life > longLife {
		j.say("is good for %d days", int(life.Hours()/24))
	}
	if now.After(c.NotAfter) {
		j.say("ended on %s", c.NotAfter.Format(time.DateOnly))
	}
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		j.say("signs itself, so that nobody can revoke it")
	}
	return j
}

// judgeCA looks at the certificates that a host believes; leaf is its own.
func judgeCA(path string, leaf *x509.Certificate) (j judgement) {
	certs, err := readCertificates(path)
	if err != nil {
		return judgement{cause: err}
	}
	for _, c := range certs {
		j.strength(c)
	}
	if leaf != nil && slices.ContainsFunc(certs, leaf.Equal) {
		j.say("is this host's own, so that every host that is let in has the same key, and one that loses it is every host")
	}
	return j
}

func (j *judgement) say(format string, args ...any) {
	j.weak = append(j.weak, fmt.Sprintf(format, args...))
}

// strength is whether a certificate's key and signature can be broken.
func (j *judgement) strength(c *x509.Certificate) {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < 2048 {
			j.say("has an RSA key of %d bits, which can be broken", n)
		}
	case *ecdsa.PublicKey:
		if n := key.Curve.Params().BitSize; n < 256 {
			j.say("has a key on a curve of %d bits", n)
		}
	}
	switch c.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		j.say("is signed with %s, which can be forged", c.SignatureAlgorithm)
	}
}

// readCertificates reads the certificates of a PEM file; a key that stands in it
// is not looked at.
func readCertificates(path string) (certs []*x509.Certificate, err error) {
	data, err := readText(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if !strings.HasSuffix(block.Type, "CERTIFICATE") {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return certs, nil
}

// readableByOthers says so of a key's file, if it can be seen here.
func readableByOthers(path string) string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return ""
	}
	return fmt.Sprintf("Other users can read the key (mode %04o).", info.Mode().Perm())
}
