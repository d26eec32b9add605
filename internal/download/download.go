// Package download fetches programs that others publish, and keeps them: over https only, checked against the sum that
// is published beside them, and stored under that sum, so that what was checked is what runs.
package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"kwokctl/internal/files"
)

// Cache is where programs are kept.
type Cache struct {
	Dir    string       // for this user alone; made when needed
	Client *http.Client // nil: NewClient
	// Progress is told how much of a file has come; total is -1 when the server does not tell. It may be nil.
	Progress func(name string, done, total int64)
}

// NewClient is an HTTP client that never goes from https to anything else, and gives up on a server that is silent.
func NewClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second
	return &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" {
			return fmt.Errorf("sent on to %s, which is not https", req.URL)
		}
		if len(via) >= 10 {
			return errors.New("sent on too often")
		}
		return nil
	}}
}

// Get returns the path of a program: location is an https URL, or a path. Behind # it may name a member of a .tar.gz.
// What was fetched once is not fetched again.
func (c *Cache) Get(ctx context.Context, location string) (string, error) {
	whole, member, archived := strings.Cut(location, "#")
	file := whole
	if strings.Contains(whole, "://") {
		sum, err := c.fetch(ctx, whole)
		if err != nil {
			return "", fmt.Errorf("fetch %s: %w", whole, err)
		}
		file = c.stored(sum)
	}
	if !archived {
		return file, nil
	}
	program, err := c.extract(file, member)
	if err == nil {
		err = c.note(location, filepath.Base(program))
	}
	if err != nil {
		return "", fmt.Errorf("take %s out of %s: %w", member, whole, err)
	}
	return program, nil
}

// Plain tells whether a location is the path of a program, which need not be got from anywhere.
func Plain(location string) bool {
	return !strings.Contains(location, "://") && !strings.Contains(location, "#")
}

// Have returns what Get returned for a location the last time, if it is still there. It asks nobody.
func (c *Cache) Have(location string) (string, bool) {
	if Plain(location) {
		return location, true
	}
	name, err := os.ReadFile(c.noted(location))
	if err != nil || strings.ContainsRune(string(name), filepath.Separator) {
		return "", false
	}
	path := c.stored(strings.TrimSpace(string(name)))
	info, err := os.Stat(path)
	return path, err == nil && info.Mode().IsRegular()
}

// note remembers where what was got from a location is.
func (c *Cache) note(location, name string) error {
	if err := files.MkdirPrivate(filepath.Dir(c.noted(location))); err != nil {
		return err
	}
	return files.WriteAtomic(c.noted(location), []byte(name+"\n"), 0o600)
}

// stored is where the file with this sum is.
func (c *Cache) stored(sum string) string { return filepath.Join(c.Dir, "sha256", sum) }

// noted is where it is noted what is stored of a location.
func (c *Cache) noted(address string) string {
	sum := sha256.Sum256([]byte(address))
	return filepath.Join(c.Dir, "url", hex.EncodeToString(sum[:]))
}

// maxText bounds what Text fetches, in bytes.
const maxText = 64 << 20

// Text returns what is at an https address, without a published sum: it is not to be run. What was fetched once is
// not fetched again.
func (c *Cache) Text(ctx context.Context, address string) ([]byte, error) {
	text, err := c.text(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", address, err)
	}
	return text, nil
}

func (c *Cache) text(ctx context.Context, address string) ([]byte, error) {
	unchecked := "text " + address // what is noted by this name is never taken for a program
	u, sum, err := c.known(address, unchecked)
	if err != nil {
		return nil, err
	}
	if sum != "" {
		return os.ReadFile(c.stored(sum))
	}
	resp, err := c.open(ctx, u)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body := &counted{r: resp.Body, total: resp.ContentLength, name: path.Base(u.Path), progress: c.Progress}
	text, err := io.ReadAll(io.LimitReader(body, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("more than %d MiB", maxText>>20)
	}
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(text)
	sum = hex.EncodeToString(hash[:])
	if err := files.WriteAtomic(c.stored(sum), text, 0o600); err != nil {
		return nil, err
	}
	return text, c.note(unchecked, sum)
}

// known checks an address and returns the sum of what was fetched from there, as it is noted, if that is in the cache.
func (c *Cache) known(address, noted string) (u *url.URL, sum string, err error) {
	u, err = url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, "", errors.New("not a URL")
	}
	if u.Scheme != "https" {
		return nil, "", fmt.Errorf("%s is not allowed, only https", u.Scheme)
	}
	if text, err := os.ReadFile(c.noted(noted)); err == nil {
		if sum := strings.TrimSpace(string(text)); isSum(sum) && c.intact(sum) {
			return u, sum, nil
		}
	}
	for _, dir := range []string{c.Dir, filepath.Join(c.Dir, "sha256")} {
		if err := files.MkdirPrivate(dir); err != nil {
			return nil, "", err
		}
	}
	return u, "", nil
}

// fetch makes sure that the file at address is in the cache, and returns its sum.
func (c *Cache) fetch(ctx context.Context, address string) (string, error) {
	u, sum, err := c.known(address, address)
	if err != nil || sum != "" {
		return sum, err
	}
	if sum, err = c.published(ctx, u); err != nil {
		return "", err
	}
	if !c.intact(sum) {
		if err := c.store(ctx, u, sum); err != nil {
			return "", err
		}
	}
	return sum, c.note(address, sum)
}

// intact tells whether the file with this sum is there and is still what it was.
func (c *Cache) intact(sum string) bool {
	f, err := os.Open(c.stored(sum))
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == sum
}

// store fetches the file at u, which must have this sum. A file with another one is never seen under its name.
func (c *Cache) store(ctx context.Context, u *url.URL, sum string) error {
	resp, err := c.open(ctx, u)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return files.WriteStream(c.stored(sum), 0o700, func(w io.Writer) error {
		h := sha256.New()
		body := &counted{r: resp.Body, total: resp.ContentLength, name: path.Base(u.Path), progress: c.Progress}
		n, err := io.Copy(io.MultiWriter(w, h), body)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != sum {
			return fmt.Errorf("damaged: its sha256 is %s, published is %s", got, sum)
		}
		return nil
	})
}

// missingError says that a server does not have a file.
type missingError struct{ status string }

func (e *missingError) Error() string { return e.status }

// open asks for the file at u. The caller closes the body.
func (c *Cache) open(ctx context.Context, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	client := c.Client
	if client == nil {
		client = NewClient()
	}
	resp, err := client.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // the caller says which URL
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusForbidden {
		return nil, &missingError{resp.Status}
	}
	return nil, errors.New(resp.Status)
}

// sums are the places where projects publish the sums of their files, from the file's URL: a file of its own, or one
// for all files of a release.
func sums(u *url.URL) []*url.URL {
	var all []*url.URL
	for _, name := range []string{path.Base(u.Path) + ".sha256", "SHA256SUMS", "sha256sums.txt", path.Base(u.Path) + ".sha256sum.txt"} {
		s := *u
		s.Path, s.RawPath = path.Join(path.Dir(u.Path), name), ""
		all = append(all, &s)
	}
	return all
}

// published finds the sum that is published for the file at u.
func (c *Cache) published(ctx context.Context, u *url.URL) (string, error) {
	for _, at := range sums(u) {
		resp, err := c.open(ctx, at)
		var missing *missingError
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("its sum %s: %w", path.Base(at.Path), err)
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return "", fmt.Errorf("its sum %s: %w", path.Base(at.Path), err)
		}
		if sum := sumOf(string(text), path.Base(u.Path)); sum != "" {
			return sum, nil
		}
	}
	return "", errors.New("it is not there, or no sha256 is published beside it; fetch it yourself and give its path")
}

// sumOf reads a published sum: alone, or in a line with the name of the file as sha256sum writes it.
func sumOf(text, name string) string {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || !isSum(words[0]) {
			continue
		}
		if len(words) == 1 || path.Base(strings.TrimPrefix(words[1], "*")) == name {
			return strings.ToLower(words[0])
		}
	}
	return ""
}

func isSum(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == sha256.Size
}

// counted reports what is read, and gives up when nothing comes.
type counted struct {
	r           io.ReadCloser
	name        string
	done, total int64
	progress    func(string, int64, int64)
}

// silence is how long a server may send nothing in the middle of a file.
const silence = time.Minute

func (c *counted) Read(p []byte) (int, error) {
	stop := time.AfterFunc(silence, func() { c.r.Close() })
	n, err := c.r.Read(p)
	if !stop.Stop() && err != nil {
		err = fmt.Errorf("nothing came for %s", silence)
	}
	c.done += int64(n)
	if c.progress != nil {
		c.progress(c.name, c.done, c.total)
	}
	return n, err
}
