package cluster

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// owner is whom PostgreSQL's files belong to and who runs it. It is nil for
// oneself: only root, as whom PostgreSQL refuses to run, needs somebody else.
type owner struct{ uid, gid int }

func findOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(found.Uid)
		gid, errGID := strconv.Atoi(found.Gid)
		if errUID == nil && errGID == nil && uid != 0 {
			return &owner{uid, gid}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func (o *owner) credential() *syscall.Credential {
	if o == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
}

// own gives a file or a folder and all in it to the owner.
func (o *owner) own(path string) error {
	if o == nil {
		return nil
	}
	return filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, o.uid, o.gid)
	})
}

// folder makes a new folder that the owner can reach and write to.
func (o *owner) folder(parent string) (string, error) {
	path, err := os.MkdirTemp(parent, "taskerpy-cluster-")
	if err != nil {
		return "", err
	}
	return path, o.own(path)
}

// copyTree copies a folder of PostgreSQL's, and gives the copy to the owner.
func (o *owner) copyTree(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		// CopyFS adds to the permissions of folders, which PostgreSQL refuses.
		if entry.IsDir() {
			if err := os.Chmod(path, 0o700); err != nil {
				return err
			}
		}
		if o == nil {
			return nil
		}
		return os.Lchown(path, o.uid, o.gid)
	})
}
