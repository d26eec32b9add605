// Package pki makes the keys and certificates of one cluster: ECDSA P-256 only, an identity per component, and one
// authority each for the cluster, for etcd and for the front proxy. It touches no file.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"time"
)

const (
	skew     = 48 * time.Hour       // certificates are valid this long before they are made: clocks jump
	leafLife = 365 * 24 * time.Hour // of all but authorities
	caLife   = 10 * leafLife
	early    = 60 * 24 * time.Hour // Renew replaces a leaf with less than this left
)

// Spec is what one cluster wants of its certificates.
type Spec struct {
	// Hosts are further names and IP addresses of servers, by certificate name ("kube-apiserver"). Every server
	// is reachable at localhost, 127.0.0.1 and ::1, and at the name of its component, without being told.
	Hosts map[string][]string
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Make returns every key and certificate of a cluster as PEM, by file name: ca.crt, ca.key, admin.crt, …, and sa.key
// and sa.pub. It depends on its arguments alone; keys and serial numbers are read from random, which is
// crypto/rand.Reader but in tests.
func Make(spec Spec, now time.Time, random io.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	cas := map[string]*pair{}
	for _, r := range table() {
		key, err := newKey(random)
		if err != nil {
			return nil, fmt.Errorf("make key %s: %w", r.name, err)
		}
		der, err := issue(r, spec.Hosts[r.name], key, cas[r.by], now, random)
		if err != nil {
			return nil, fmt.Errorf("make certificate %s: %w", r.name, err)
		}
		if r.use == authority {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("make certificate %s: %w", r.name, err)
			}
			cas[r.name] = &pair{cert, key}
		}
		files[r.name+".crt"] = encodeCert(der)
		if files[r.name+".key"], err = encodeKey(key); err != nil {
			return nil, err
		}
	}
	sa, err := makeServiceAccount(random)
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", serviceAccount, err)
	}
	maps.Copy(files, sa)
	return files, nil
}

// Sign issues a client certificate for a user: cn is the user's name, groups are the groups.
func Sign(caCert, caKey []byte, cn string, groups []string, now time.Time) (cert, key []byte, err error) {
	ca, err := parsePair(caCert, caKey)
	if err != nil {
		return nil, nil, fmt.Errorf("read authority: %w", err)
	}
	k, err := newKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate of %s: %w", cn, err)
	}
	tmpl, err := template(client, cn, groups, nil, now, rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate of %s: %w", cn, err)
	}
	der, err := sign(tmpl, k, ca)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate of %s: %w", cn, err)
	}
	key, err = encodeKey(k)
	return encodeCert(der), key, err
}

// issue makes one certificate of the table; by is nil for an authority, which signs itself.
func issue(r row, more []string, key *ecdsa.PrivateKey, by *pair, now time.Time, random io.Reader) ([]byte, error) {
	var hosts, groups []string
	if r.use == server || r.use == both {
		hosts = append(append(local(), r.hosts...), more...)
	}
	if r.group != "" {
		groups = []string{r.group}
	}
	tmpl, err := template(r.use, r.cn, groups, hosts, now, random)
	if err != nil {
		return nil, err
	}
	if by == nil && r.use != authority {
		return nil, fmt.Errorf("authority %s is missing", r.by)
	}
	return sign(tmpl, key, by)
}

func template(use usage, cn string, groups, hosts []string, now time.Time, random io.Reader) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(random, serial); err != nil {
		return nil, fmt.Errorf("read random serial number: %w", err)
	}
	serial[0] &= 0x7f // a positive number, so that it stays within 16 bytes
	serial[15] |= 1   // and never zero
	tmpl := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: cn, Organization: groups},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(leafLife),
		BasicConstraintsValid: true,
	}
	tmpl.KeyUsage, tmpl.ExtKeyUsage = use.keyUsages()
	if use == authority {
		tmpl.IsCA, tmpl.MaxPathLenZero = true, true
		tmpl.NotAfter = now.Add(caLife)
	}
	seen := map[string]bool{}
	for _, h := range hosts {
		if h == "" || seen[h] {
			continue
		}
		seen[h] = true
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	return tmpl, nil
}

// sign puts the authority's signature on tmpl; by is nil for a certificate that signs itself.
func sign(tmpl *x509.Certificate, key *ecdsa.PrivateKey, by *pair) ([]byte, error) {
	if by == nil {
		by = &pair{tmpl, key}
	}
	if by.cert.NotAfter.Before(tmpl.NotAfter) {
		tmpl.NotAfter = by.cert.NotAfter // nothing outlives its authority
	}
	// Without a random source ECDSA signs deterministically (RFC 6979), as safely, and Make stays pure.
	return x509.CreateCertificate(nil, tmpl, by.cert, &key.PublicKey, by.key)
}

// newKey draws a key from random; ecdsa.GenerateKey would ignore it.
func newKey(random io.Reader) (*ecdsa.PrivateKey, error) {
	const tries = 8 // one in 2^32 draws is outside the group
	var last error
	for range tries {
		secret := make([]byte, 32)
		if _, err := io.ReadFull(random, secret); err != nil {
			return nil, fmt.Errorf("read random key: %w", err)
		}
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
		if err == nil {
			return key, nil
		}
		last = err
	}
	return nil, last
}

func makeServiceAccount(random io.Reader) (map[string][]byte, error) {
	key, err := newKey(random)
	if err != nil {
		return nil, err
	}
	private, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		serviceAccount + ".key": private,
		serviceAccount + ".pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	}, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func parsePair(cert, key []byte) (*pair, error) {
	c, err := parseCert(cert)
	if err != nil {
		return nil, err
	}
	k, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	if !k.PublicKey.Equal(c.PublicKey) {
		return nil, errors.New("certificate and key do not belong together")
	}
	return &pair{c, k}, nil
}

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("not a PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "EC PRIVATE KEY" {
		return nil, errors.New("not a PEM key of type EC PRIVATE KEY")
	}
	return x509.ParseECPrivateKey(block.Bytes)
}
