package kectl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// The two ways in which values are encoded.
const (
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
	mediaJSON     = "application/json"
)

// magic begins every value in protobuf.
const magic = "k8s\x00"

func mediaType(value []byte) string {
	if bytes.HasPrefix(value, []byte(magic)) {
		return mediaProtobuf
	}
	return mediaJSON
}

// decodeValue gives the object in a value as JSON.
func decodeValue(value []byte) (json.RawMessage, error) {
	if mediaType(value) == mediaJSON {
		if !json.Valid(value) {
			return nil, errors.New("neither protobuf nor JSON; is it encrypted?")
		}
		return value, nil
	}
	obj, _, err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Decode(value, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("decode protobuf: %w", err)
	}
	return json.Marshal(obj)
}

// encodeValue gives the value for an object in JSON: protobuf for the kinds that Kubernetes stores so. Fields that the
// kind does not have are an error.
func encodeValue(object []byte, r Resource) ([]byte, error) {
	if r.custom || r.Group == "apiextensions.k8s.io" || r.Group == "apiregistration.k8s.io" {
		return append(bytes.TrimSpace(object), '\n'), nil
	}
	var t runtime.TypeMeta
	if err := json.Unmarshal(object, &t); err != nil {
		return nil, err
	}
	obj, err := scheme.Scheme.New(t.GroupVersionKind())
	if err != nil {
		return nil, fmt.Errorf("version %s of %s is not known", t.APIVersion, t.Kind)
	}
	if err := yaml.UnmarshalStrict(object, obj); err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(t.GroupVersionKind())
	var b bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(obj, &b); err != nil {
		return nil, fmt.Errorf("encode protobuf: %w", err)
	}
	return b.Bytes(), nil
}
