package api

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Vet compiles and vets the source of a program as if it were outside this project, where the import of an
// internal package is an error. The program may import what the module in the folder dir requires; scratch is
// an empty folder.
func Vet(dir, scratch, source string) error {
	file := filepath.Join(scratch, "main.go")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("go", append(append([]string{"vet"}, buildFlags()...), file)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	return nil
}
