package shard

import (
	"reflect"
	"strings"
	"testing"
)

// Bounds of types: one that needs more is several types. Metrics, which is a list, and entry, which is a job, are no
// parts.
const (
	maxShardFields = 29
	maxPartFields  = 20
)

// TestPartsDoNotKnowTheShard: a part may know other parts, but none has the shard, so that each can be tested alone.
func TestPartsDoNotKnowTheShard(t *testing.T) {
	shard := reflect.TypeFor[Shard]()
	if n := shard.NumField(); n > maxShardFields {
		t.Errorf("the shard has %d fields: look for a part", n)
	}
	own := shard.PkgPath()
	seen := map[reflect.Type]bool{shard: true}
	var look func(path []string, of reflect.Type)
	look = func(path []string, of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
			if of.Kind() == reflect.Map {
				look(path, of.Key())
			}
			look(path, of.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if of == shard {
			t.Errorf("a part has the shard: %s", strings.Join(path, "."))
		}
		if of.PkgPath() != own || seen[of] {
			return
		}
		seen[of] = true
		if n := of.NumField(); n > maxPartFields && of != reflect.TypeFor[Metrics]() && of != reflect.TypeFor[entry]() {
			t.Errorf("%s has %d fields: it is several parts", of.Name(), n)
		}
		for f := range of.Fields() {
			look(append(path, f.Name), f.Type)
		}
	}
	for f := range shard.Fields() {
		look([]string{f.Name}, f.Type)
	}
	if len(seen) < 20 {
		t.Errorf("%d types were looked at: the test shows little", len(seen))
	}
}
