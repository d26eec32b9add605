package pki

import (
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"
	"maps"
	"time"
)

// Expiring tells whether a PEM certificate ends within this time from now, is not yet valid, or cannot be read.
func Expiring(cert []byte, now time.Time, within time.Duration) bool {
	c, err := parseCert(cert)
	return err != nil || now.Before(c.NotBefore) || c.NotAfter.Sub(now) < within
}

// Renew returns the files that change so that every leaf has at least 60 days left; none, most times. Leafs keep
// their keys, so that each is renewed by writing one file, and are signed by the authority they had. A leaf that is
// missing, because the cluster is older than its row in the table, is made. A missing or damaged authority or a
// damaged key is an error: to replace it would cut off whoever trusts it.
func Renew(files map[string][]byte, spec Spec, now time.Time) (map[string][]byte, error) {
	changed := map[string][]byte{}
	for _, r := range table() {
		crt, key := r.name+".crt", r.name+".key"
		if r.use == authority || (files[key] != nil && !Expiring(files[crt], now, early)) {
			continue
		}
		by, err := parsePair(files[r.by+".crt"], files[r.by+".key"])
		if err != nil {
			return nil, fmt.Errorf("read authority %s: %w", r.by, err)
		}
		k, made, err := keyOf(r.name, files)
		if err != nil {
			return nil, err
		}
		der, err := issue(r, spec.Hosts[r.name], k, by, now, rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("renew certificate %s: %w", r.name, err)
		}
		maps.Copy(changed, made)
		changed[crt] = encodeCert(der)
	}
	return changed, nil
}

// keyOf reads the key of a leaf, or makes it when there is none and returns it as a file to write.
func keyOf(name string, files map[string][]byte) (*ecdsa.PrivateKey, map[string][]byte, error) {
	file := name + ".key"
	if text := files[file]; text != nil {
		k, err := parseKey(text)
		if err != nil {
			return nil, nil, fmt.Errorf("read key %s: %w", name, err)
		}
		return k, nil, nil
	}
	k, err := newKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key %s: %w", name, err)
	}
	text, err := encodeKey(k)
	if err != nil {
		return nil, nil, err
	}
	return k, map[string][]byte{file: text}, nil
}
