package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"
)

func today() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func seeded() *mathrand.ChaCha8 { return mathrand.NewChaCha8([32]byte{1}) }

func made(t testing.TB, spec Spec) map[string][]byte {
	t.Helper()
	files, err := Make(spec, today(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func certOf(t testing.TB, files map[string][]byte, name string) *x509.Certificate {
	t.Helper()
	c, err := parseCert(files[name+".crt"])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

func TestMakeEveryCertificate(t *testing.T) {
	t.Parallel()
	files := made(t, Spec{})
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, tt := range []struct {
		name, by, cn, group string
		eku                 []x509.ExtKeyUsage
	}{
		{"kube-apiserver", "ca", "kube-apiserver", "", both[:1]},
		{"apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client", "", both[1:]},
		{"apiserver-etcd-client", "etcd-ca", "kube-apiserver-etcd-client", "", both[1:]},
		{"front-proxy-client", "front-proxy-ca", "front-proxy-client", "", both[1:]},
		{"etcd-server", "etcd-ca", "etcd", "", both},
		{"etcd-peer", "etcd-ca", "etcd", "", both},
		{"kube-controller-manager", "ca", "system:kube-controller-manager", "", both[1:]},
		{"kube-controller-manager-serving", "ca", "kube-controller-manager", "", both[:1]},
		{"kube-scheduler", "ca", "system:kube-scheduler", "", both[1:]},
		{"kube-scheduler-serving", "ca", "kube-scheduler", "", both[:1]},
		{"kwok-controller", "ca", "kwok-controller", "", both[1:]},
		{"kwok-controller-serving", "ca", "kwok-controller", "", both[:1]},
		{"admin", "ca", "kwok-admin", "system:masters", both[1:]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := certOf(t, files, tt.name)
			if c.Subject.CommonName != tt.cn || slices.Compact(append(c.Subject.Organization, tt.group))[0] != tt.group {
				t.Errorf("subject %v", c.Subject)
			}
			if !slices.Equal(c.ExtKeyUsage, tt.eku) || c.KeyUsage != x509.KeyUsageDigitalSignature || c.IsCA {
				t.Errorf("usages %v %v ca %v", c.ExtKeyUsage, c.KeyUsage, c.IsCA)
			}
			for _, ca := range []string{"ca", "etcd-ca", "front-proxy-ca"} {
				pool := x509.NewCertPool()
				pool.AddCert(certOf(t, files, ca))
				_, err := c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: today(), KeyUsages: tt.eku})
				if (err == nil) != (ca == tt.by) {
					t.Errorf("verify against %s: %v", ca, err)
				}
			}
			if _, err := tls.X509KeyPair(files[tt.name+".crt"], files[tt.name+".key"]); err != nil {
				t.Error(err)
			}
			if !c.NotBefore.Equal(today().Add(-48*time.Hour)) || !c.NotAfter.Equal(today().Add(365*24*time.Hour)) {
				t.Errorf("valid %v to %v", c.NotBefore, c.NotAfter)
			}
		})
	}
	if want := 2*len(table()) + 2; len(files) != want {
		t.Errorf("%d files, want %d", len(files), want)
	}
}

func TestKeysAndSerials(t *testing.T) {
	t.Parallel()
	files := made(t, Spec{})
	keys, serials := map[string]string{}, map[string]string{}
	limit := new(big.Int).Lsh(big.NewInt(1), 128)
	for _, r := range table() {
		c := certOf(t, files, r.name)
		pub, ok := c.PublicKey.(*ecdsa.PublicKey)
		if !ok || pub.Curve != elliptic.P256() {
			t.Errorf("%s: key %T", r.name, c.PublicKey)
		}
		if c.SerialNumber.Sign() <= 0 || c.SerialNumber.Cmp(limit) >= 0 || c.SerialNumber.BitLen() < 64 {
			t.Errorf("%s: serial %v", r.name, c.SerialNumber)
		}
		if other := keys[string(files[r.name+".key"])]; other != "" {
			t.Errorf("%s shares its key with %s", r.name, other)
		}
		if other := serials[c.SerialNumber.String()]; other != "" {
			t.Errorf("%s shares its serial with %s", r.name, other)
		}
		keys[string(files[r.name+".key"])], serials[c.SerialNumber.String()] = r.name, r.name
		if r.use == authority && (!c.IsCA || !c.MaxPathLenZero || !c.NotAfter.Equal(today().Add(3650*24*time.Hour))) {
			t.Errorf("%s: ca %v path %v until %v", r.name, c.IsCA, c.MaxPathLen, c.NotAfter)
		}
	}
	if keys[string(files["sa.key"])] != "" || !bytes.Contains(files["sa.pub"], []byte("BEGIN PUBLIC KEY")) {
		t.Error("the service account key must be a key of its own")
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	files := made(t, Spec{Hosts: map[string][]string{"kube-apiserver": {"kwok-a-kube-apiserver", "192.0.2.7", "localhost"}}})
	for _, tt := range []struct {
		name string
		host string
		want bool
	}{
		{"kube-apiserver", "kubernetes.default.svc.cluster.local", true},
		{"kube-apiserver", "kubernetes.default.svc", true},
		{"kube-apiserver", "kubernetes.default", true},
		{"kube-apiserver", "kubernetes", true},
		{"kube-apiserver", "10.0.0.1", true},
		{"kube-apiserver", "::1", true},
		{"kube-apiserver", "kwok-a-kube-apiserver", true},
		{"kube-apiserver", "192.0.2.7", true},
		{"kube-apiserver", "example.com", false},
		{"etcd-server", "127.0.0.1", true},
		{"etcd-server", "etcd", true},
		{"etcd-server", "192.0.2.7", false},
		{"kwok-controller-serving", "kwok-controller", true},
		{"kube-scheduler-serving", "localhost", true},
		{"admin", "localhost", false},
	} {
		if err := certOf(t, files, tt.name).VerifyHostname(tt.host); (err == nil) != tt.want {
			t.Errorf("%s at %s: %v", tt.name, tt.host, err)
		}
	}
	if n := len(certOf(t, files, "kube-apiserver").DNSNames); n != 7 {
		t.Errorf("%d names, want 7: a repeated host counts once", n)
	}
}

func TestMakeIsPure(t *testing.T) {
	t.Parallel()
	a, err := Make(Spec{}, today(), seeded())
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Make(Spec{}, today(), seeded())
	if !maps.EqualFunc(a, b, bytes.Equal) {
		t.Error("the same arguments gave other files")
	}
	if _, err := Make(Spec{}, today(), bytes.NewReader(nil)); err == nil {
		t.Error("no error without random bytes")
	}
	if _, err := Make(Spec{}, today(), bytes.NewReader(make([]byte, 1<<16))); err == nil {
		t.Error("zero accepted as a key")
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	files := made(t, Spec{})
	crt, key, err := Sign(files["ca.crt"], files["ca.key"], "alice", []string{"dev", "ops"}, today())
	if err != nil {
		t.Fatal(err)
	}
	c := certOf(t, map[string][]byte{"u.crt": crt}, "u")
	if c.Subject.CommonName != "alice" || !slices.Equal(c.Subject.Organization, []string{"dev", "ops"}) {
		t.Errorf("subject %v", c.Subject)
	}
	if err := c.CheckSignatureFrom(certOf(t, files, "ca")); err != nil {
		t.Error(err)
	}
	if _, err := tls.X509KeyPair(crt, key); err != nil {
		t.Error(err)
	}
	if _, _, err := Sign(files["ca.crt"], files["etcd-ca.key"], "alice", nil, today()); err == nil {
		t.Error("signed with a key of another authority")
	}
	if _, _, err := Sign(nil, nil, "alice", nil, today()); err == nil {
		t.Error("signed without an authority")
	}
	soon := certOf(t, files, "ca").NotAfter.Add(-time.Hour)
	crt, _, err = Sign(files["ca.crt"], files["ca.key"], "bob", nil, soon)
	if err != nil || certOf(t, map[string][]byte{"u.crt": crt}, "u").NotAfter.After(soon.Add(time.Hour)) {
		t.Errorf("a certificate outlives its authority (%v)", err)
	}
}

func TestExpiring(t *testing.T) {
	t.Parallel()
	crt := made(t, Spec{})["admin.crt"]
	const day = 24 * time.Hour
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {-49 * time.Hour, true}, {-47 * time.Hour, false}, {304 * day, false}, {306 * day, true}, {400 * day, true}} {
		if got := Expiring(crt, today().Add(tt.after), 60*day); got != tt.want {
			t.Errorf("after %v: %v", tt.after, got)
		}
	}
	if !Expiring([]byte("x"), today(), 0) {
		t.Error("an unreadable certificate must be renewed")
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	spec := Spec{Hosts: map[string][]string{"kube-apiserver": {"192.0.2.7"}}}
	files := made(t, spec)
	if got, err := Renew(files, spec, today().Add(300*24*time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("too early: %d files, %v", len(got), err)
	}
	later := today().Add(310 * 24 * time.Hour)
	delete(files, "kwok-controller.key")
	delete(files, "kwok-controller.crt")
	got, err := Renew(files, spec, later)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(table())-3+1 || got["kwok-controller.key"] == nil || got["ca.crt"] != nil || got["sa.key"] != nil {
		t.Errorf("renewed %v", slices.Sorted(maps.Keys(got)))
	}
	maps.Copy(files, got)
	if again, _ := Renew(files, spec, later); len(again) != 0 {
		t.Errorf("renewed twice: %d", len(again))
	}
	for _, r := range table() {
		if _, err := tls.X509KeyPair(files[r.name+".crt"], files[r.name+".key"]); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
		if r.use != authority {
			if err := certOf(t, files, r.name).CheckSignatureFrom(certOf(t, files, r.by)); err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		}
	}
	if err := certOf(t, files, "kube-apiserver").VerifyHostname("192.0.2.7"); err != nil {
		t.Error(err)
	}
	for _, damaged := range []string{"ca.crt", "ca.key"} {
		bad := maps.Clone(files)
		bad[damaged] = []byte("damaged")
		if _, err := Renew(bad, spec, later.Add(310*24*time.Hour)); err == nil {
			t.Errorf("renewed with a damaged %s", damaged)
		}
	}
	bad := maps.Clone(files)
	bad["admin.key"] = []byte("damaged")
	if _, err := Renew(bad, spec, later.Add(310*24*time.Hour)); err == nil {
		t.Error("replaced a damaged key")
	}
}

func BenchmarkMake(b *testing.B) {
	for b.Loop() {
		if _, err := Make(Spec{}, today(), rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}
