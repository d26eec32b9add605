package controller

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// maxFrame bounds one event of a watch.
const maxFrame = 64 << 20

// frames cuts a watch stream into events. What next returns is good until the next call.
type frames interface {
	next() (typ string, raw []byte, err error)
	waits() bool // nothing more has arrived yet
}

// protobufFrames are a length of four bytes and an event.
type protobufFrames struct {
	in    *bufio.Reader
	frame []byte
}

func (f *protobufFrames) waits() bool { return f.in.Buffered() < 4 }

func (f *protobufFrames) next() (string, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(f.in, size[:]); err != nil {
		return "", nil, fmt.Errorf("read watch: %w", err)
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if n > maxFrame {
		return "", nil, fmt.Errorf("read watch: frame of %d bytes", n)
	}
	if cap(f.frame) < n {
		f.frame = make([]byte, n+n/4)
	}
	f.frame = f.frame[:n]
	if _, err := io.ReadFull(f.in, f.frame); err != nil {
		return "", nil, fmt.Errorf("read watch: %w", err)
	}
	typ, err := part(f.frame, 1)
	if err != nil {
		return "", nil, err
	}
	ext, err := part(f.frame, 2)
	if err != nil {
		return "", nil, err
	}
	sealed, err := part(ext, 1)
	if err != nil {
		return "", nil, err
	}
	raw, err := open(sealed)
	return string(typ), raw, err
}

// jsonFrames are one event per line.
type jsonFrames struct{ in *bufio.Reader }

func (f *jsonFrames) waits() bool { return f.in.Buffered() == 0 }

func (f *jsonFrames) next() (string, []byte, error) {
	var line []byte
	for {
		piece, err := f.in.ReadSlice('\n')
		line = append(line, piece...)
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull || len(line) > maxFrame {
			return "", nil, fmt.Errorf("read watch: %w", err)
		}
	}
	var e struct {
		Type   string
		Object json.RawMessage
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return "", nil, fmt.Errorf("read watch: %w", err)
	}
	return e.Type, e.Object, nil
}
