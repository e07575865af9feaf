package a

func f() (int, error) { return 0, nil }

func heads(n int, m map[string]int, c chan int) {
	if n++; n > 3 { // want "a condition changes a variable"
		return
	}
	if n += 2; n > 3 { // want "a condition changes a variable"
		return
	}
	switch n = 5; { // want "a condition changes a variable"
	case n > 3:
	}
	if n > 9 {
		return
	} else if n, m = 1, nil; n > 3 { // want "a condition changes a variable"
		return
	}
	var err error
	var ok bool
	if n, err = f(); err != nil {
		return
	}
	if n, ok = m["a"]; ok {
		return
	}
	if n = <-c; n > 3 {
		return
	}
	if k := n + 1; k > 3 {
		return
	}
}

func four() (a, b, c, d int) {
	a, b, c = 1, 2, 3
	a, b, c, d = 1, 2, 3, 4  // want "4 values are assigned at once"
	_, e, _, _ := 1, 2, a, d // want "4 values are assigned at once"
	a, b, c, d = four()
	_ = e
	return a, b, c, d
}
