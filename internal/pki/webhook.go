package pki

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"time"
)

// MakeWebhook makes an authority of this name and a certificate for a server at hosts, in the files of a Secret that
// the certificate rotator of Kubernetes' own projects takes for its own (github.com/open-policy-agent/cert-controller):
// ca.crt and ca.key, of RSA and with its name among its hosts, tls.crt and tls.key. Both last ten years, since the
// rotator would replace a certificate in the Secret only, and not in the files.
func MakeWebhook(authorityName string, hosts []string, now time.Time, random io.Reader) (map[string][]byte, error) {
	caKey, err := rsa.GenerateKey(random, 2048)
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", authorityName, err)
	}
	ca, err := template(authority, authorityName, nil, []string{authorityName}, now, random)
	if err != nil {
		return nil, err
	}
	caDER, err := x509.CreateCertificate(random, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("make certificate of %s: %w", authorityName, err)
	}
	key, err := newKey(random)
	if err != nil {
		return nil, err
	}
	leaf, err := template(server, hosts[0], nil, append(local(), hosts...), now, random)
	if err != nil {
		return nil, err
	}
	leaf.NotAfter = ca.NotAfter
	leafDER, err := x509.CreateCertificate(random, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("make certificate of %s: %w", hosts[0], err)
	}
	keyText, err := encodeKey(key)
	return map[string][]byte{
		"ca.crt": encodeCert(caDER), "tls.crt": encodeCert(leafDER), "tls.key": keyText,
		"ca.key": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(caKey)}),
	}, err
}
