package processor

import (
	"testing"
)

func TestHandleRefusesMistakes(t *testing.T) {
	p, err := New(Config{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	HandleRaw(p, "a", echo)
	for what, mistake := range map[string]func(){
		"twice":    func() { HandleRaw(p, "a", echo) },
		"no type":  func() { HandleRaw(p, "", echo) },
		"no func":  func() { HandleRaw(p, "b", nil) },
		"too late": func() { p.started = true; HandleRaw(p, "c", echo) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", what)
				}
			}()
			mistake()
		}()
	}
}
