package snapshot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/grpclog"

	"kwokctl/internal/files"
	"kwokctl/runtimes/process"
)

// Progress is told how far the work is: objects and bytes done, and the same of the whole, 0 when it is not known.
type Progress func(objects, bytes, ofObjects, ofBytes int64)

// embeddedEtcd is the version of the embedded etcd.
const embeddedEtcd = "3.6"

// newer tells whether data of one version of etcd are too new for another. Patches do not matter.
func newer(data, etcd string) bool {
	var a, b [2]int
	if etcd == "" {
		etcd = embeddedEtcd
	}
	if n, _ := fmt.Sscanf(strings.TrimPrefix(data, "v"), "%d.%d", &a[0], &a[1]); n != 2 {
		return false // before 3.6 a snapshot did not say
	}
	n, _ := fmt.Sscanf(strings.TrimPrefix(etcd, "v"), "%d.%d", &b[0], &b[1])
	return n == 2 && slices.Compare(a[:], b[:]) > 0
}

// Etcd is what a snapshot in etcd's format holds.
type Etcd struct {
	Revision int64  `json:"revision"`
	Keys     int    `json:"totalKey"`
	Size     int64  `json:"totalSize"`
	Version  string `json:"version"` // of its schema; empty before etcd 3.6
}

func (e *Etcd) String() string {
	return fmt.Sprintf("revision %d, %d keys, %.1f MiB", e.Revision, e.Keys, float64(e.Size)/(1<<20))
}

// quiet keeps gRPC from telling the user of connections that fail; whoever calls is told.
var quiet = sync.OnceFunc(func() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) })

// Dial connects to the etcd whose client socket is at path, which must not be too long for a socket.
func Dial(path string) (*clientv3.Client, error) {
	quiet()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + path}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second,
		MaxCallSendMsgSize: 64 << 20, MaxCallRecvMsgSize: 64 << 20})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return c, nil
}

// SaveEtcd writes the state of the etcd behind a socket to out, in etcd's own format, and returns its size.
func SaveEtcd(ctx context.Context, socket string, out io.Writer, progress Progress) (int64, error) {
	c, err := Dial(socket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	status, err := c.Status(ctx, c.Endpoints()[0])
	if err != nil {
		return 0, fmt.Errorf("save from etcd: %w", err)
	}
	answer, err := c.SnapshotWithVersion(ctx)
	if err != nil {
		return 0, fmt.Errorf("save from etcd: %w", err)
	}
	defer answer.Snapshot.Close()
	sum := &sum{hash: sha256.New()}
	size, err := io.Copy(io.MultiWriter(out, sum), &reporter{answer.Snapshot, progress, 0, status.DbSize})
	if err != nil {
		return 0, fmt.Errorf("save from etcd: %w", err)
	}
	if !sum.good() {
		return 0, errors.New("save from etcd: its hash does not fit: the transfer was cut or damaged")
	}
	return size, nil
}

// reporter reports what is read through it.
type reporter struct {
	io.Reader
	to          Progress
	done, total int64
}

func (r *reporter) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.done += int64(n)
	if r.to != nil {
		r.to(0, r.done, 0, max(r.done, r.total))
	}
	return n, err
}

// sum takes a stream that ends with the hash of all before.
type sum struct {
	hash hash.Hash
	tail []byte
}

func (s *sum) Write(p []byte) (int, error) {
	s.tail = append(s.tail, p...)
	if n := len(s.tail) - sha256.Size; n > 0 {
		s.hash.Write(s.tail[:n])
		s.tail = append(s.tail[:0], s.tail[n:]...)
	}
	return len(p), nil
}

func (s *sum) good() bool { return string(s.hash.Sum(nil)) == string(s.tail) }

// CheckEtcd copies a snapshot of etcd's format to path and checks everything in it. With skipHash the file may come
// from a data directory, where it has no hash. The etcd that is to read it has the version given, "" for the embedded.
func CheckEtcd(ctx context.Context, in *Input, path string, skipHash bool, version string, progress Progress) (*Etcd, error) {
	if !in.IsEtcd {
		return nil, fmt.Errorf("%s: no snapshot of etcd: it does not begin as one", in.Name)
	}
	if free, err := files.FreeSpace(path); err == nil && in.size > 0 && uint64(in.size)*2 > free {
		return nil, fmt.Errorf("%s: %.1f MiB free at %s; %.1f MiB are needed", in.Name, float64(free)/(1<<20), filepath.Dir(path), float64(in.size*2)/(1<<20))
	}
	sum := &sum{hash: sha256.New()}
	err := files.WriteStream(path, 0o600, func(w io.Writer) error {
		_, err := io.Copy(io.MultiWriter(w, sum), &reporter{contextReader{ctx, in}, progress, 0, in.size})
		return err
	})
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%s: %w", in.Name, ErrCut)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", in.Name, err)
	case !skipHash && !sum.good():
		return nil, fmt.Errorf("%s: its hash does not fit: it was cut or damaged, or copied from a data directory (then --skip-hash-check)", in.Name)
	}
	text, err := process.Output(ctx, "etcdutl", "snapshot", "status", path, "--write-out=json")
	if err != nil {
		return nil, fmt.Errorf("%s: damaged: %w", in.Name, err)
	}
	var e Etcd
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, fmt.Errorf("%s: check: %w", in.Name, err)
	}
	switch {
	case newer(e.Version, embeddedEtcd) || newer(e.Version, version):
		return nil, fmt.Errorf("%s: its schema is of etcd %s; that of the cluster is %s", in.Name, e.Version, cmp.Or(version, embeddedEtcd))
	case e.Keys == 0:
		return nil, fmt.Errorf("%s: it has no keys", in.Name)
	}
	return &e, nil
}

// RestoreEtcd makes dir the data directory of a member of this name from the snapshot at path, which CheckEtcd has
// checked. Revisions go on from now, in microseconds since 1970: that is after any that clients may have seen, of
// whatever was there before, and all older ones count as compacted, so that every watcher lists anew.
func RestoreEtcd(ctx context.Context, e *Etcd, path, dir, member, peerURL string, now time.Time) error {
	const margin = 1_000_000_000 // for clocks that are behind
	bump := max(now.UnixMicro()-e.Revision, margin)
	if _, err := process.Output(ctx, "etcdutl", RestoreArgs(path, dir, member, peerURL, fmt.Sprint(bump))...); err != nil {
		return fmt.Errorf("restore into etcd: %w", err)
	}
	return errors.Join(files.Repair(dir, nil), files.SyncTree(dir))
}

// RestoreArgs are the arguments of etcdutl for RestoreEtcd. The hash was checked before, or is not to be.
func RestoreArgs(path, dir, member, peerURL, bump string) []string {
	return []string{"snapshot", "restore", path, "--data-dir=" + dir, "--skip-hash-check", "--name=" + member,
		"--initial-cluster=" + member + "=" + peerURL, "--initial-advertise-peer-urls=" + peerURL, "--bump-revision=" + bump, "--mark-compacted"}
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
