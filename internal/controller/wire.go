package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"kwokctl/internal/stage"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// protobuf content types of Kubernetes.
const (
	protobuf      = "application/vnd.kubernetes.protobuf"
	protobufWatch = protobuf + ";stream=watch"
	// metaOnly asks for no more than the metadata of what was written.
	metaOnly = protobuf + ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1," + protobuf
	// metaOnlyAny is for kinds that have no protobuf form of their own.
	metaOnlyAny = metaOnly + ",application/json"
)

// magic begins each Kubernetes protobuf object.
var magic = []byte("k8s\x00")

var errWire = errors.New("malformed protobuf")

// open returns the object inside a Kubernetes protobuf envelope.
func open(data []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(data, magic)
	if !ok {
		return nil, errWire
	}
	return part(rest, 2)
}

// part returns the last length-delimited field of that number in a message; nil if it has none.
func part(msg []byte, number protowire.Number) (found []byte, err error) {
	err = parts(msg, func(n protowire.Number, b []byte) error {
		if n == number {
			found = b
		}
		return nil
	})
	return found, err
}

// parts calls f with each length-delimited field of a message.
func parts(msg []byte, f func(number protowire.Number, b []byte) error) error {
	for len(msg) > 0 {
		n, typ, size := protowire.ConsumeTag(msg)
		if size < 0 {
			return errWire
		}
		msg = msg[size:]
		if typ == protowire.BytesType {
			b, size := protowire.ConsumeBytes(msg)
			if size < 0 {
				return errWire
			}
			if err := f(n, b); err != nil {
				return err
			}
			msg = msg[size:]
			continue
		}
		size = protowire.ConsumeFieldValue(n, typ, msg)
		if size < 0 {
			return errWire
		}
		msg = msg[size:]
	}
	return nil
}

// versionOf returns the resourceVersion of an enveloped object.
func versionOf(data []byte) string {
	obj, err := open(data)
	if err != nil {
		return ""
	}
	meta, err := part(obj, 1)
	if err != nil {
		return ""
	}
	version, err := part(meta, 6)
	if err != nil {
		return ""
	}
	return string(version)
}

// statusOf reads an enveloped or JSON Status, for its message.
func statusOf(data []byte) *metav1.Status {
	s := &metav1.Status{}
	if obj, err := open(data); err == nil && s.Unmarshal(obj) == nil {
		return s
	}
	if json.Unmarshal(data, s) == nil && s.Kind == "Status" {
		return s
	}
	return nil
}

// seal puts an object into an envelope.
func seal(version, kind string, obj stage.Encoder) ([]byte, error) {
	raw := make([]byte, obj.Size())
	if _, err := obj.MarshalToSizedBuffer(raw); err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: version, Kind: kind}, Raw: raw}
	out := make([]byte, len(magic)+u.Size())
	copy(out, magic)
	if _, err := u.MarshalToSizedBuffer(out[len(magic):]); err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	return out, nil
}
