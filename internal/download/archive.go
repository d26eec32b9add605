package download

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"kwokctl/internal/files"
)

// maxMember bounds what is unpacked.
const maxMember = 2 << 30

// extract returns the path of a member of a .tar.gz, wherever in it a file of that name is. It is stored under the sum
// of the archive, which is left as it is.
func (c *Cache) extract(archive, member string) (string, error) {
	if member == "" || member != path.Base(member) || member == ".." {
		return "", errors.New("not the name of a file")
	}
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	target := c.stored(hex.EncodeToString(h.Sum(nil)) + "-" + member)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	for _, dir := range []string{c.Dir, filepath.Dir(target)} {
		if err := files.MkdirPrivate(dir); err != nil {
			return "", err
		}
	}
	return target, unpack(f, member, target)
}

func unpack(archive io.Reader, member, target string) error {
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return fmt.Errorf("not a .tar.gz: %w", err)
	}
	for all := tar.NewReader(unzipped); ; {
		header, err := all.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("it is not in there")
		}
		if err != nil {
			return fmt.Errorf("not a .tar.gz: %w", err)
		}
		if header.Typeflag != tar.TypeReg || path.Base(header.Name) != member {
			continue
		}
		if header.Size > maxMember {
			return fmt.Errorf("it has %d bytes, too many", header.Size)
		}
		return files.WriteStream(target, 0o700, func(w io.Writer) error {
			_, err := io.Copy(w, all)
			return err
		})
	}
}
