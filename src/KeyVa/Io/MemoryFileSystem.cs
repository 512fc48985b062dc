using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace KeyVa.Io;

/// <summary>
/// A POSIX disk in memory, for tests and simulation: it keeps apart what processes see and what a power loss leaves.
/// Thread-safe by one lock. Deterministic: the same calls and seeds give the same bytes.
/// <para>
/// The fault model. A power loss (<see cref="Crash"/>) leaves of each 512-byte sector that was written since the file's
/// last sync the old bytes, the new ones, or a mix split at any byte; of an unsynced change of length the old, the new or
/// one between; of creations, renames and deletions whose folder was not synced any subset, each rename whole or not at
/// all. Syncing a file does not make its name durable. A failed sync leaves its pages uncertain, and a later sync of
/// another handle succeeds without them. The end of the process (<see cref="Kill"/>) leaves every byte. Both end locks and
/// handles: the old object refuses all further calls, so that a forgotten thread cannot reach the new state.
/// </para>
/// </summary>
[SuppressMessage("Security", "CA5394", Justification = "Seeded randomness of a model, not a secret.")]
internal sealed class MemoryFileSystem : IFileSystem
{
    // Immutable after construction.
    private readonly MemoryDirectory _root;
    private readonly NamespaceLog _pending;

    // Guarded by Gate.
    private readonly HashSet<MemoryContent> _locked = [];
    private bool _dead;

    public MemoryFileSystem()
        : this(new MemoryDirectory(), new NamespaceLog(), seed: 0)
    {
    }

    private MemoryFileSystem(MemoryDirectory root, NamespaceLog pending, int seed)
    {
        _root = root;
        _pending = pending;
        Random = new Random(seed);
        Faults = new FaultPlan(Gate);
    }

    /// <summary>What fails, and what was asked for.</summary>
    public FaultPlan Faults { get; }

    /// <summary>Bytes the disk holds; what would need more fails with <see cref="StorageFullException"/>.</summary>
    public long Capacity { get; set; } = long.MaxValue;

    /// <summary>Bytes taken by files, those deleted but still open included.</summary>
    public long Used { get; internal set; }

    internal object Gate { get; } = new();

    internal bool IsDead => _dead;

    internal Random Random { get; }

    internal long Free => Math.Max(0, Capacity - Used);

    /// <summary>Power loss: what is left, by the seed. This object and all its handles are dead from now on.</summary>
    public MemoryFileSystem Crash(int seed)
    {
        lock (Gate)
        {
            MemoryFileSystem left = AfterPowerLoss(seed);
            _dead = true;
            return left;
        }
    }

    /// <summary>What a power loss at this moment would leave, by the seed; this object goes on.</summary>
    public MemoryFileSystem AfterPowerLoss(int seed)
    {
        lock (Gate)
        {
            CheckAlive("crash", "/");
            var random = new Random(seed);
            long used = 0;
            MemoryDirectory root = _pending.AfterPowerLoss(_root, random, content =>
            {
                MemoryContent left = content.AfterPowerLoss(random);
                used += left.Charge;
                return left;
            });
            return new MemoryFileSystem(root, new NamespaceLog(), seed) { Capacity = Capacity, Used = used };
        }
    }

    /// <summary>What a kill at this moment would leave: all bytes, as if they had been synced; this object goes on.</summary>
    public MemoryFileSystem AfterKill()
    {
        lock (Gate)
        {
            CheckAlive("kill", "/");
            long used = 0;
            MemoryDirectory root = NamespaceLog.Copy(_root, static directory => directory.Entries, content =>
            {
                MemoryContent left = content.AfterKill();
                used += left.Charge;
                return left;
            });
            return new MemoryFileSystem(root, new NamespaceLog(), Random.Next()) { Capacity = Capacity, Used = used };
        }
    }

    /// <summary>The process dies, the machine goes on: all bytes stay, synced or not. This object is dead from now on.</summary>
    public MemoryFileSystem Kill()
    {
        lock (Gate)
        {
            CheckAlive("kill", "/");
            _dead = true;
            var files = new HashSet<MemoryContent>();
            CollectFiles(_root, files);
            long used = 0;
            foreach (MemoryContent content in files)
            {
                content.Handles = 0;
                used += content.Charge;
            }

            return new MemoryFileSystem(_root, _pending, Random.Next()) { Capacity = Capacity, Used = used };
        }
    }

    /// <summary>Flips the bits of <paramref name="mask"/> in one byte, as failing media do; no sync is needed for it.</summary>
    public void Corrupt(string path, long offset, byte mask)
    {
        lock (Gate)
        {
            FileAt("corrupt", path).Corrupt(offset, mask);
        }
    }

    public StorageFile Create(string path)
    {
        Faults.Before?.Invoke(FileOperation.Create, path);
        lock (Gate)
        {
            Enter(FileOperation.Create, "create", path);
            return new MemoryFile(this, path, CreateNode("create", path), writable: true);
        }
    }

    public StorageFile Open(string path, bool writable)
    {
        Faults.Before?.Invoke(FileOperation.Open, path);
        lock (Gate)
        {
            Enter(FileOperation.Open, "open", path);
            return new MemoryFile(this, path, FileAt("open", path), writable);
        }
    }

    public bool FileExists(string path)
    {
        lock (Gate)
        {
            CheckAlive("stat", path);
            return Find(path) is MemoryContent;
        }
    }

    public bool DirectoryExists(string path)
    {
        lock (Gate)
        {
            CheckAlive("stat", path);
            return Find(path) is MemoryDirectory;
        }
    }

    public void CreateDirectory(string path)
    {
        Faults.Before?.Invoke(FileOperation.CreateDirectory, path);
        lock (Gate)
        {
            Enter(FileOperation.CreateDirectory, "mkdir", path);
            MemoryDirectory directory = _root;
            foreach (string name in Names(path))
            {
                if (!directory.Entries.TryGetValue(name, out MemoryNode? node))
                {
                    node = new MemoryDirectory();
                    AddEntry(directory, name, node);
                }

                directory = node as MemoryDirectory ?? throw Posix.Failure("mkdir", path, Posix.NotDirectory);
            }
        }
    }

    public IReadOnlyList<string> List(string directory)
    {
        Faults.Before?.Invoke(FileOperation.List, directory);
        lock (Gate)
        {
            Enter(FileOperation.List, "opendir", directory);
            return [.. DirectoryAt("opendir", directory).Entries.Keys];
        }
    }

    public void DeleteFile(string path)
    {
        Faults.Before?.Invoke(FileOperation.Delete, path);
        lock (Gate)
        {
            Enter(FileOperation.Delete, "unlink", path);
            FileAt("unlink", path);
            (MemoryDirectory parent, string name) = Parent("unlink", path);
            RemoveEntry(parent, name);
        }
    }

    public void DeleteDirectory(string path)
    {
        Faults.Before?.Invoke(FileOperation.Delete, path);
        lock (Gate)
        {
            Enter(FileOperation.Delete, "rmdir", path);
            RemoveEntries(DirectoryAt("rmdir", path));
            (MemoryDirectory parent, string name) = Parent("rmdir", path);
            RemoveEntry(parent, name);
        }
    }

    public void Rename(string from, string to)
    {
        Faults.Before?.Invoke(FileOperation.Rename, from);
        lock (Gate)
        {
            Enter(FileOperation.Rename, "rename", from);
            MemoryNode node = Find(from) ?? throw Posix.Failure("rename", from, Posix.NoEntry);
            (MemoryDirectory fromParent, string fromName) = Parent("rename", from);
            (MemoryDirectory toParent, string toName) = Parent("rename", to);
            if (toParent.Entries.TryGetValue(toName, out MemoryNode? replaced))
            {
                if (replaced == node)
                {
                    return;
                }

                CheckReplaceable(node, replaced, to);
                replaced.Links--;
            }

            fromParent.Entries.Remove(fromName);
            toParent.Entries[toName] = node;
            _pending.Rename(fromParent, fromName, toParent, toName, node);
            ReleaseIfUnused(replaced);
        }
    }

    public bool TryHardLink(string from, string to)
    {
        Faults.Before?.Invoke(FileOperation.HardLink, from);
        lock (Gate)
        {
            Enter(FileOperation.HardLink, "link", from);
            MemoryContent content = FileAt("link", from);
            (MemoryDirectory parent, string name) = Parent("link", to);
            if (parent.Entries.ContainsKey(name))
            {
                throw Posix.Failure("link", from, Posix.Exists);
            }

            AddEntry(parent, name, content);
            return true;
        }
    }

    public void SyncDirectory(string path)
    {
        Faults.Before?.Invoke(FileOperation.SyncDirectory, path);
        lock (Gate)
        {
            Enter(FileOperation.SyncDirectory, "fsync", path);
            _pending.Sync(DirectoryAt("fsync", path));
        }
    }

    public long FreeBytes(string directory)
    {
        lock (Gate)
        {
            CheckAlive("statvfs", directory);
            DirectoryAt("statvfs", directory);
            return Free;
        }
    }

    public IDisposable? TryLock(string path)
    {
        Faults.Before?.Invoke(FileOperation.Lock, path);
        lock (Gate)
        {
            Enter(FileOperation.Lock, "flock", path);
            MemoryContent content = Find(path) is null ? CreateNode("open", path) : FileAt("open", path);
            if (!_locked.Add(content))
            {
                return null;
            }

            var file = new MemoryFile(this, path, content, writable: true);
            byte[] holder = Encoding.ASCII.GetBytes($"{Environment.ProcessId}\n");
            if (holder.Length <= Free)
            {
                file.Write(0, holder);
            }

            return new Hold(this, content, file);
        }
    }

    public IDisposable? TryLockUnchanged(string path)
    {
        lock (Gate)
        {
            Enter(FileOperation.Lock, "flock", path);
            MemoryContent content = FileAt("open", path);
            return _locked.Add(content) ? new Hold(this, content, new MemoryFile(this, path, content, writable: false)) : null;
        }
    }

    /// <summary>Counts an operation and fails it if so planned. The caller holds the lock.</summary>
    internal void Enter(FileOperation operation, string name, string path)
    {
        CheckAlive(name, path);
        int errno = Faults.Next(operation, path);
        if (errno != 0)
        {
            throw Posix.Failure(name, path, errno);
        }
    }

    internal void CheckAlive(string operation, string path)
    {
        if (_dead)
        {
            throw new StorageException(operation, path, Posix.InputOutput, "the simulated machine or process has stopped");
        }
    }

    /// <summary>Gives a file's room back once it has neither name nor handle.</summary>
    internal void ReleaseIfUnused(MemoryNode? node)
    {
        if (node is MemoryContent { Links: 0, Handles: 0 } content)
        {
            Used -= content.Charge;
        }
    }

    private static string[] Names(string path) =>
        Path.GetFullPath(path, "/").Split('/', StringSplitOptions.RemoveEmptyEntries);

    private static void CollectFiles(MemoryDirectory directory, HashSet<MemoryContent> files)
    {
        foreach (MemoryNode node in directory.Entries.Values)
        {
            if (node is MemoryDirectory child)
            {
                CollectFiles(child, files);
            }
            else
            {
                files.Add((MemoryContent)node);
            }
        }
    }

    private static void CheckReplaceable(MemoryNode node, MemoryNode replaced, string to)
    {
        switch (node, replaced)
        {
            case (MemoryDirectory, MemoryContent):
                throw Posix.Failure("rename", to, Posix.NotDirectory);
            case (MemoryContent, MemoryDirectory):
                throw Posix.Failure("rename", to, Posix.IsDirectory);
            case (MemoryDirectory, MemoryDirectory { Entries.Count: > 0 }):
                throw Posix.Failure("rename", to, Posix.NotEmpty);
        }
    }

    private MemoryNode? Find(string path)
    {
        MemoryNode? node = _root;
        foreach (string name in Names(path))
        {
            node = node is MemoryDirectory directory ? directory.Entries.GetValueOrDefault(name) : null;
        }

        return node;
    }

    private MemoryContent FileAt(string operation, string path) => Find(path) switch
    {
        MemoryContent content => content,
        MemoryDirectory => throw Posix.Failure(operation, path, Posix.IsDirectory),
        _ => throw Posix.Failure(operation, path, Posix.NoEntry),
    };

    private MemoryDirectory DirectoryAt(string operation, string path) => Find(path) switch
    {
        MemoryDirectory directory => directory,
        MemoryContent => throw Posix.Failure(operation, path, Posix.NotDirectory),
        _ => throw Posix.Failure(operation, path, Posix.NoEntry),
    };

    private (MemoryDirectory Directory, string Name) Parent(string operation, string path)
    {
        string[] names = Names(path);
        if (names.Length == 0)
        {
            throw Posix.Failure(operation, path, Posix.IsDirectory);
        }

        return (DirectoryAt(operation, "/" + string.Join('/', names[..^1])), names[^1]);
    }

    private MemoryContent CreateNode(string operation, string path)
    {
        (MemoryDirectory parent, string name) = Parent(operation, path);
        if (parent.Entries.ContainsKey(name))
        {
            throw Posix.Failure(operation, path, Posix.Exists);
        }

        var content = new MemoryContent();
        AddEntry(parent, name, content);
        return content;
    }

    private void AddEntry(MemoryDirectory parent, string name, MemoryNode node)
    {
        node.Links++;
        parent.Entries.Add(name, node);
        _pending.Link(parent, name, node);
    }

    private void RemoveEntry(MemoryDirectory parent, string name)
    {
        MemoryNode node = parent.Entries[name];
        node.Links--;
        parent.Entries.Remove(name);
        _pending.Unlink(parent, name, node);
        ReleaseIfUnused(node);
    }

    private void RemoveEntries(MemoryDirectory directory)
    {
        foreach (string name in directory.Entries.Keys.ToList())
        {
            if (directory.Entries[name] is MemoryDirectory child)
            {
                RemoveEntries(child);
            }

            RemoveEntry(directory, name);
        }
    }

    private sealed class Hold(MemoryFileSystem owner, MemoryContent content, MemoryFile file) : IDisposable
    {
        public void Dispose()
        {
            lock (owner.Gate)
            {
                owner._locked.Remove(content);
            }

            file.Dispose();
        }
    }
}
