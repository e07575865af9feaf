package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

const lockFile = webDir + "/third/lock.json"

// locked is a library of the page: where npm has it, and the SHA-256 of each file that is copied from there.
type locked struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Resolved  string            `json:"resolved"`
	Integrity string            `json:"integrity"` // of the archive, as npm writes it
	Files     map[string]string `json:"files"`
}

func readLock(root string) (l []locked, err error) {
	b, err := os.ReadFile(filepath.Join(root, lockFile))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, fmt.Errorf("%s: %w", lockFile, err)
	}
	return l, nil
}

// checkLock returns an error if a library has another file than the lock file says.
func checkLock(root string) error {
	all, err := readLock(root)
	if err != nil {
		return err
	}
	for _, l := range all {
		files, err := hashes(filepath.Join(root, webDir, "third", l.Name))
		if err != nil {
			return err
		}
		if !maps.Equal(files, l.Files) {
			return fmt.Errorf("the files of %s are not those of %s", l.Name, lockFile)
		}
	}
	return nil
}

// writeLock writes the hashes of the files that are there.
func writeLock(root string) error {
	all, err := readLock(root)
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].Files, err = hashes(filepath.Join(root, webDir, "third", all[i].Name)); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, lockFile), append(b, '\n'), 0o644)
}

// hashes returns the SHA-256 of each file below a folder.
func hashes(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		rel, relErr := filepath.Rel(dir, name)
		if err := errors.Join(err, relErr); err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		files[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return nil
	})
	return files, err
}
