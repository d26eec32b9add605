package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// disk is a file system that can lose its power: then it has no more of each file than was there at the last fsync.
// Names are kept at once.
type disk struct {
	at, below string // where it is mounted, and where its files really are
	server    *fuse.Server
	mu        sync.Mutex
	off       bool
	dirty     map[uint64]*unsynced // by inode
}

// unsynced is how to undo what was done to a file since its last fsync.
type unsynced struct {
	file *os.File
	size int64
	old  []overwritten
}

type overwritten struct {
	at   int64
	data []byte
}

// losingDisk makes the work directory such a file system.
func (w *world) losingDisk() *disk {
	w.t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		w.t.Skip("only root can mount a file system of its own")
	}
	d := &disk{at: w.dir, below: filepath.Join(w.home, "disk")}
	for _, dir := range []string{d.at, d.below} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := d.on(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.run("delete", "cluster", "--all") // a process in it would hold it; what went wrong is said at the end
		if err := d.server.Unmount(); err != nil {
			w.t.Error(err)
		}
	})
	return d
}

// on mounts it.
func (d *disk) on() (err error) {
	d.off, d.dirty = false, map[uint64]*unsynced{}
	root := &fs.LoopbackRoot{Path: d.below}
	root.NewNode = func(*fs.LoopbackRoot, *fs.Inode, string, *syscall.Stat_t) fs.InodeEmbedder {
		return &node{LoopbackNode: fs.LoopbackNode{RootData: root}, disk: d}
	}
	root.RootNode = root.NewNode(root, nil, "", nil)
	d.server, err = fs.Mount(d.at, root.RootNode, &fs.Options{MountOptions: fuse.MountOptions{DirectMount: true, FsName: "losing"}})
	return err
}

// cut takes the power away. Nothing is written any more, and nothing that was not synced is there.
func (d *disk) cut() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	for _, u := range d.dirty {
		for i := len(u.old) - 1; i >= 0; i-- {
			if _, err := u.file.WriteAt(u.old[i].data, u.old[i].at); err != nil {
				return err
			}
		}
		if err := u.file.Truncate(u.size); err != nil {
			return err
		}
		u.file.Close()
	}
	return nil
}

// change does something to a part of a file of the disk, and remembers what was there. A negative length is all behind
// at.
func (d *disk) change(n *node, at, length int64, do func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return syscall.EIO
	}
	id := n.StableAttr().Ino
	u := d.dirty[id]
	if u == nil {
		f, err := os.OpenFile(filepath.Join(d.below, n.Path(nil)), os.O_RDWR, 0)
		if err != nil {
			return fs.ToErrno(err)
		}
		info, err := f.Stat()
		if err != nil {
			return fs.ToErrno(err)
		}
		u = &unsynced{file: f, size: info.Size()}
		d.dirty[id] = u
	}
	if length < 0 {
		length = u.size - at
	}
	if length = min(length, u.size-at); length > 0 { // what is behind was not there, and will not be
		data := make([]byte, length)
		got, _ := u.file.ReadAt(data, at) // there is less when it was cut shorter since, which has been remembered
		u.old = append(u.old, overwritten{at, data[:got]})
	}
	return do()
}

// node is a file or a directory of the disk.
type node struct {
	fs.LoopbackNode
	disk *disk
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		if errno := n.disk.change(n, 0, -1, func() syscall.Errno { return 0 }); errno != 0 {
			return nil, 0, errno
		}
	}
	h, more, errno := n.LoopbackNode.Open(ctx, flags)
	return n.open(h, errno), more, errno
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, h, more, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return inode, inode.Operations().(*node).open(h, 0), more, 0
}

func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	set := func() syscall.Errno { return n.LoopbackNode.Setattr(ctx, h, in, out) }
	if size, ok := in.GetSize(); ok {
		return n.disk.change(n, int64(size), -1, set)
	}
	return set()
}

func (n *node) open(h fs.FileHandle, errno syscall.Errno) fs.FileHandle {
	if errno != 0 {
		return nil
	}
	return &opened{handle: h.(handle), node: n}
}

// handle is what is handed on to the real file.
type handle interface {
	fs.FileReader
	fs.FileWriter
	fs.FileFlusher
	fs.FileReleaser
	fs.FileGetattrer
	fs.FileSetattrer
	fs.FileLseeker
	fs.FileAllocater
}

type opened struct {
	handle
	node *node
}

func (o *opened) Write(ctx context.Context, data []byte, at int64) (n uint32, errno syscall.Errno) {
	errno = o.node.disk.change(o.node, at, int64(len(data)), func() syscall.Errno {
		n, errno = o.handle.Write(ctx, data, at)
		return errno
	})
	return n, errno
}

// Fsync makes what is in the file stay.
func (o *opened) Fsync(context.Context, uint32) syscall.Errno {
	d := o.node.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return syscall.EIO
	}
	if u := d.dirty[o.node.StableAttr().Ino]; u != nil {
		u.file.Close()
		delete(d.dirty, o.node.StableAttr().Ino)
	}
	return 0
}

// powerLoss ends everything at once, and all that was not on the disk is gone.
func (w *world) powerLoss(d *disk) {
	w.t.Helper()
	if err := d.cut(); err != nil {
		w.t.Fatal(err)
	}
	left := func() int {
		all := w.processes()
		for pid := range all {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(all)
	}
	w.eventually(10*time.Second, "nothing runs, nor holds the disk", func() bool { return left() == 0 && d.server.Unmount() == nil })
	if err := d.on(); err != nil {
		w.t.Fatal(err)
	}
}

// TestPowerLoss takes the power away while clients write: all that was acknowledged is there afterwards, and the cluster
// starts. Then while a cluster is made: the next create makes it.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.losingDisk()
	rounds := max(3, *soak)
	w.create("power")
	for i := range rounds {
		all := w.write("power", 8)
		w.eventually(time.Minute, "writes", func() bool { return all.count.Load() >= 200+rand.Int64N(300) })
		w.powerLoss(d)
		close(all.stop)
		all.done.Wait()
		if got := w.status("power"); got != "Stopped" {
			t.Errorf("it is %s", got)
		}
		w.ok("start", "cluster", "--name", "power", "--wait", "60s")
		there, lost := unique(w.kubectl("power", "get", "configmaps", "-o", `jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}`)), 0
		for _, name := range all.names {
			if !there[name] {
				lost++
			}
		}
		if t.Logf("round %d: %d of %d acknowledged writes are lost", i, lost, len(all.names)); lost > 0 {
			t.Errorf("%d of %d acknowledged writes are lost", lost, len(all.names))
		}
		w.kubectl("power", "delete", "configmaps", "--all", "--wait=false")
	}
	w.ok("delete", "cluster", "--name", "power")
	for i := range rounds {
		name := fmt.Sprintf("half-%d", i)
		r := w.begin(w.command(t.Context(), "create", "cluster", "--name", name))
		time.Sleep(time.Duration(rand.Int64N(int64(time.Second))))
		w.powerLoss(d)
		r.wait()
		w.create(name)
		w.ready(name)
		w.ok("delete", "cluster", "--name", name)
		w.gone(name)
	}
}
