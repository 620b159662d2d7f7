package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Description is a certificate as "redoubt pki show" prints it.
type Description struct {
	Subject     string      `json:"subject"`
	Issuer      string      `json:"issuer"`
	CA          bool        `json:"ca"`
	Identity    identity.ID `json:"identity"` // nobody when it is a CA or not of ours
	Role        string      `json:"role"`
	URIs        []string    `json:"uris"`
	DNS         []string    `json:"dns"`
	IPs         []string    `json:"ips"`
	Serial      string      `json:"serial"` // hex
	NotBefore   time.Time   `json:"not_before"`
	NotAfter    time.Time   `json:"not_after"`
	DaysLeft    int         `json:"days_left"`   // whole days, rounded down; negative once expired
	Fingerprint string      `json:"fingerprint"` // SHA-256 of the certificate, hex
	KeyType     string      `json:"key_type"`
}

// Describe says what a certificate is, of whomever, at a moment.
func Describe(cert *x509.Certificate, now time.Time) Description {
	sum := sha256.Sum256(cert.Raw)
	d := Description{
		Subject:     cert.Subject.String(),
		Issuer:      cert.Issuer.String(),
		CA:          cert.IsCA,
		URIs:        []string{},
		DNS:         append([]string{}, cert.DNSNames...),
		IPs:         []string{},
		Serial:      hex.EncodeToString(cert.SerialNumber.Bytes()),
		NotBefore:   cert.NotBefore.UTC(),
		NotAfter:    cert.NotAfter.UTC(),
		DaysLeft:    daysBetween(now, cert.NotAfter),
		Fingerprint: hex.EncodeToString(sum[:]),
		KeyType:     keyType(cert.PublicKey),
	}
	for _, u := range cert.URIs {
		d.URIs = append(d.URIs, u.String())
	}
	for _, ip := range cert.IPAddresses {
		d.IPs = append(d.IPs, ip.String())
	}
	if len(d.URIs) == 1 {
		if id, err := identity.Parse(d.URIs[0]); err == nil {
			d.Identity, d.Role = id, string(id.Role())
		}
	}
	return d
}

// daysBetween rounds down, below zero too: a certificate that ended an hour ago
// has -1 days left, not 0.
func daysBetween(from, to time.Time) int {
	const day = 24 * time.Hour
	left := to.Sub(from)
	days := int(left / day)
	if left < 0 && left%day != 0 {
		days--
	}
	return days
}

func keyType(public any) string {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	default:
		return fmt.Sprintf("%T", public)
	}
}
