package pki

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// A CA's keys at rest. Without a passphrase each is PKCS #8 in PEM; with one it
// is PKCS #8 encrypted (RFC 5958 §3) by PBES2 (RFC 8018 §6.2) with
// PBKDF2-HMAC-SHA-256 and AES-256-CBC: what "openssl pkey" reads, and what every
// FIPS mode allows (SP 800-132). Docs/decisions/0051 says why not age.
//
// CBC by itself doesn't tell a changed file. The key inside must be that of a
// certificate of ours, or it isn't used.

const (
	encryptedBlock = "ENCRYPTED PRIVATE KEY" // RFC 7468 §11
	// iterations: OWASP's figure for PBKDF2-HMAC-SHA-256 (2023), a fifth of a
	// second.
	iterations = 600_000
	// maxIterations keeps a file from holding us for ever.
	maxIterations = 10_000_000
	// MinPassphrase: SP 800-63B-4 §3.1.1.2 for a password that stands alone.
	MinPassphrase = 15
)

var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

type encryptedKey struct {
	Algorithm pbes2
	Data      []byte
}

type pbes2 struct {
	OID    asn1.ObjectIdentifier
	Params struct {
		KDF struct {
			OID    asn1.ObjectIdentifier
			Params struct {
				Salt       []byte
				Iterations int
				KeyLength  int `asn1:"optional"`
				PRF        pkix.AlgorithmIdentifier
			}
		}
		Cipher struct {
			OID asn1.ObjectIdentifier
			IV  []byte
		}
	}
}

// Unlock gives the passphrase of a CA's keys. It is asked at Open, and again
// when another process has changed them.
type Unlock func() ([]byte, error)

// PassphraseFile is an Unlock that reads a file of one line, a systemd
// credential for instance.
func PassphraseFile(path string) Unlock {
	return func() ([]byte, error) {
		passphrase, err := statedir.ReadPassword(path)
		return []byte(passphrase), err
	}
}

// errLocked says that keys are encrypted and no passphrase was offered.
var errLocked = errors.New("holds an encrypted key")

type sealedKey struct {
	key  crypto.Signer
	text []byte // as it stands in the file
}

// openKeys reads ca.key. No error of a parser is passed on: some repeat what
// they read.
func openKeys(text []byte, unlock Unlock) (keys []sealedKey, err error) {
	var passphrase []byte
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		der := block.Bytes
		switch block.Type {
		case keyBlock:
		case encryptedBlock:
			if unlock == nil {
				return nil, errLocked
			}
			if passphrase == nil {
				if passphrase, err = unlock(); err != nil {
					return nil, err
				}
			}
			if der, err = decrypt(block.Bytes, passphrase); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("holds a PEM block %q where only private keys belong (PKCS #8)", block.Type)
		}
		key, err := parseKey(der)
		if block.Type == encryptedBlock {
			clear(der)
		}
		if err != nil && block.Type == encryptedBlock {
			return nil, errWrongPassphrase
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, sealedKey{key, pem.EncodeToMemory(block)})
		if len(keys) > maxRoots+1 { // one more after a crash
			return nil, errors.New("holds more keys than a CA of ours has")
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("holds no private key in PEM form (PKCS #8)")
	}
	return keys, nil
}

var errWrongPassphrase = errors.New("can't be decrypted: the passphrase is wrong, or something else than redoubt changed the file")

// sealKey encodes a key for the disk, encrypted if there is a passphrase.
func sealKey(key crypto.Signer, passphrase []byte) ([]byte, error) {
	return sealKeyBy(iterations, key, passphrase)
}

func sealKeyBy(iterations int, key crypto.Signer, passphrase []byte) ([]byte, error) {
	plain, err := EncodeKey(key)
	if err != nil || len(passphrase) == 0 {
		return plain, err
	}
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("a passphrase of %d characters can be found by trying: take %d or more", len(passphrase), MinPassphrase)
	}
	block, _ := pem.Decode(plain)
	der, err := encrypt(iterations, block.Bytes, passphrase)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: encryptedBlock, Bytes: der}), nil
}

func encrypt(iterations int, plain, passphrase []byte) ([]byte, error) {
	e := encryptedKey{Algorithm: pbes2{OID: oidPBES2}}
	kdf, enc := &e.Algorithm.Params.KDF, &e.Algorithm.Params.Cipher
	kdf.OID, enc.OID = oidPBKDF2, oidAES256CBC
	kdf.Params.Salt, kdf.Params.Iterations = make([]byte, 16), iterations
	kdf.Params.PRF = pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256, Parameters: asn1.NullRawValue}
	enc.IV = make([]byte, aes.BlockSize)
	rand.Read(kdf.Params.Salt) // never fails since Go 1.24: the program ends instead
	rand.Read(enc.IV)
	c, err := e.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize // RFC 8018 §6.1.1 step 4
	e.Data = append([]byte(nil), plain...)
	for range pad {
		e.Data = append(e.Data, byte(pad))
	}
	cipher.NewCBCEncrypter(c, enc.IV).CryptBlocks(e.Data, e.Data)
	return asn1.Marshal(e)
}

func decrypt(der, passphrase []byte) ([]byte, error) {
	var e encryptedKey
	rest, err := asn1.Unmarshal(der, &e)
	kdf, enc := &e.Algorithm.Params.KDF, &e.Algorithm.Params.Cipher
	if err != nil || len(rest) > 0 || !e.Algorithm.OID.Equal(oidPBES2) || !kdf.OID.Equal(oidPBKDF2) ||
		!kdf.Params.PRF.Algorithm.Equal(oidHMACSHA256) || !enc.OID.Equal(oidAES256CBC) || len(enc.IV) != aes.BlockSize {
		return nil, errors.New("holds a key that isn't encrypted as we do it (PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC)")
	}
	if n := kdf.Params.Iterations; n < 1 || n > maxIterations {
		return nil, fmt.Errorf("holds a key that is encrypted with %d iterations: %d are the most that we wait for", n, maxIterations)
	}
	if len(e.Data) == 0 || len(e.Data)%aes.BlockSize != 0 {
		return nil, errWrongPassphrase
	}
	c, err := e.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	cipher.NewCBCDecrypter(c, enc.IV).CryptBlocks(e.Data, e.Data)
	pad := int(e.Data[len(e.Data)-1])
	if pad < 1 || pad > aes.BlockSize {
		return nil, errWrongPassphrase
	}
	return e.Data[:len(e.Data)-pad], nil
}

func (e *encryptedKey) cipher(passphrase []byte) (cipher.Block, error) {
	p := e.Algorithm.Params.KDF.Params
	key, err := pbkdf2.Key(sha256.New, string(passphrase), p.Salt, p.Iterations, 32)
	if err != nil {
		return nil, err
	}
	return aes.NewCipher(key)
}
