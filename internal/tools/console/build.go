package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/klauspost/compress/gzip" // compresses better than the standard library
	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/js"
)

// Folders of the page's source and output, and of the client that it stands on.
const (
	webDir    = "gateway/console/web"
	assetsDir = "gateway/console/assets"
	clientDir = "clients/js/src"
)

// build returns the files of the page by their names. It checks the libraries against the lock file first.
func build(root string) (map[string][]byte, error) {
	if err := checkLock(root); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	// The chart is a script of its own, which the page's script loads by its name.
	if err := bundle(root, files, nil, nil, "plot.ts"); err != nil {
		return nil, err
	}
	chart := slices.Collect(maps.Keys(files))[0]
	// Elements are made by calls with their children as arguments: shorter than the automatic form, which TypeScript
	// checks.
	elements := []string{filepath.Join(root, webDir, "src/elements.ts")}
	plugins := []api.Plugin{leaveOut, oneScript, loadedLate("../plot.js", chart)}
	if err := bundle(root, files, plugins, elements, "main.tsx", "style.css"); err != nil {
		return nil, err
	}
	icon, err := os.ReadFile(filepath.Join(root, webDir, "icon.svg"))
	if err != nil {
		return nil, err
	}
	files["icon-"+hashOf(icon)+".svg"] = icon
	files["index.html"], err = shell(root, files)
	return files, err
}

var minifier = func() *minify.M {
	m := minify.New()
	m.Add(".js", &js.Minifier{})
	return m
}()

// bundle adds the files that are made of sources, one of each.
func bundle(root string, files map[string][]byte, plugins []api.Plugin, inject []string, sources ...string) error {
	third := func(rest string) string { return filepath.Join(root, webDir, "third", rest) }
	for i, name := range sources {
		sources[i] = filepath.Join(root, webDir, "src", name)
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: root,
		EntryPoints:   sources,
		Outdir:        filepath.Join(root, assetsDir),
		EntryNames:    "[name]",
		Bundle:        true, Format: api.FormatESModule, Platform: api.PlatformBrowser,
		Target:           api.ES2022,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
		// Private members: of the client, as in its own build, and of Preact, as in its own build.
		MangleProps: `[^_]_$|^_[a-z]`,
		Plugins:     plugins,
		TsconfigRaw: `{"compilerOptions": {"jsx": "react", "jsxFactory": "$element", "jsxFragmentFactory": "$Fragment"}}`,
		Inject:      inject,
		Alias: map[string]string{
			"ackwire": filepath.Join(root, clientDir, "index.ts"), "preact": third("preact/src/index.js"),
			"ackwire/operate": filepath.Join(root, clientDir, "operate/index.ts"),
			"preact/hooks":    third("preact/hooks/src/index.js"),
			"uplot":           third("uplot/dist/uPlot.esm.js"), "uplot/dist/uPlot.min.css": third("uplot/dist/uPlot.min.css"),
		},
		Loader:        map[string]api.Loader{".min.css": api.LoaderText},
		LegalComments: api.LegalCommentsNone,
		Metafile:      true,
	})
	if len(result.Errors) > 0 {
		return errors.New(strings.Join(api.FormatMessages(result.Errors, api.FormatMessagesOptions{}), ""))
	}
	for _, f := range result.OutputFiles {
		content, kind := f.Contents, path.Ext(f.Path)
		if kind == ".js" {
			// A second minifier gains another two percent, mostly by names that compress better.
			var err error
			if content, err = minifier.Bytes(kind, content); err != nil {
				return fmt.Errorf("minify %s: %w", filepath.Base(f.Path), err)
			}
		}
		files[strings.TrimSuffix(filepath.Base(f.Path), kind)+"-"+hashOf(content)+kind] = content
	}
	return nil
}

// shell returns the page's HTML, which names the other files. They are below BASE/, which the server replaces by the
// way from the page to the console's root.
func shell(root string, files map[string][]byte) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, webDir, "index.html"))
	if err != nil {
		return nil, err
	}
	t, err := template.New("index.html").Parse(string(text))
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		kind, _, _ := strings.Cut(name, "-")
		names[kind+strings.TrimPrefix(path.Ext(name), ".")] = name
	}
	var b bytes.Buffer
	err = t.Execute(&b, names)
	return b.Bytes(), err
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return base32.StdEncoding.EncodeToString(sum[:])[:8]
}

// write writes the files, each compressed, in place of all that were in the folder.
func write(dir string, files map[string][]byte) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		packed, err := compress(files[name])
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".gz"), packed, 0o644); err != nil {
			return err
		}
		total += len(packed)
		fmt.Printf("%6d %s\n", len(packed), name)
	}
	fmt.Printf("%6d bytes in all\n", total)
	return nil
}

func compress(b []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(b)
	err = errors.Join(err, w.Close())
	return packed.Bytes(), err
}

// read returns the files of a folder that write has written.
func read(dir string) (map[string][]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, name := range names {
		packed, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if files[strings.TrimSuffix(filepath.Base(name), ".gz")], err = io.ReadAll(r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return files, nil
}
