package code

import "testing"

func TestEveryCodeIsDocumented(t *testing.T) {
	for _, c := range All {
		if i := c.Info(); i.HTTP < 400 || i.HTTP > 599 || i.Title == "" {
			t.Errorf("%s: %+v", c, i)
		}
	}
	for _, c := range AllCloses {
		i, ok := c.Info()
		if !ok || i.Name == "" {
			t.Errorf("%d has no name", c)
		}
		// The range says whether a client may come back.
		if c >= 4000 && c < 4500 && !i.Reconnect || c >= 4500 && i.Reconnect {
			t.Errorf("%d: reconnect is %v", c, i.Reconnect)
		}
	}
}
