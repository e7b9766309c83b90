package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrLocked is returned by Open when somebody else has the file open. The
// error's text names who.
var ErrLocked = errors.New("file in use")

// Owner tells who holds a file.
type Owner struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

func (o Owner) String() string {
	if o.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s (%s) since %s", o.PID, o.Host, o.Command, o.Since.Format(time.RFC3339))
}

// A lock keeps other processes from opening the same file. It is a POSIX
// record lock on a file beside the database. flock(2) would be shorter, but
// its locks pass on to forked children: a worker process that a handler
// forked and that outlives a killed parent would keep the file locked.
//
// POSIX locks belong to the process, so a second Open in the same process
// would succeed, and closing its descriptor would drop the first one's lock.
// That is what the held list prevents.
type lock struct {
	file *os.File
	id   fileID
}

type fileID struct{ dev, ino uint64 }

// held is per process because POSIX locks are.
var held struct {
	sync.Mutex
	files map[fileID]Owner
}

// resolve follows symbolic links, also one to a file that does not exist yet,
// so that a file has one lock whatever it is called.
func resolve(path string) (string, error) {
	for {
		resolved, err := filepath.EvalSymlinks(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return resolved, err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil // no link: a new file
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
}

// acquire takes the lock of the database at path, whose lock file is created
// when missing and stays when the lock is released.
func acquire(path string) (*lock, error) {
	name := path + ".lock"
	held.Lock()
	defer held.Unlock()
	if id, err := identify(name); err == nil {
		if owner, ok := held.files[id]; ok {
			return nil, inUse(owner)
		}
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	id, err := identify(name)
	if err == nil {
		err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		var owner Owner
		// What another process writes there may be half written; then the
		// message only says less.
		_ = json.NewDecoder(f).Decode(&owner)
		err = inUse(owner)
	}
	owner := self()
	if err == nil {
		err = describe(f, owner)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if held.files == nil {
		held.files = map[fileID]Owner{}
	}
	held.files[id] = owner
	return &lock{file: f, id: id}, nil
}

func (l *lock) release() error {
	held.Lock()
	defer held.Unlock()
	delete(held.files, l.id)
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

func inUse(owner Owner) error {
	return fmt.Errorf("%w by %s; stop that one or choose another file", ErrLocked, owner)
}

func identify(name string) (fileID, error) {
	info, err := os.Stat(name)
	if err != nil {
		return fileID{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, fmt.Errorf("stat %s: no device and inode", name)
	}
	return fileID{uint64(stat.Dev), stat.Ino}, nil //nolint:unconvert // Dev is signed on some systems
}

func self() Owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return Owner{PID: os.Getpid(), Host: host, Command: strings.Join(os.Args, " "), Since: time.Now().Truncate(time.Second)}
}

func describe(f *os.File, owner Owner) error {
	data, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return err
}
