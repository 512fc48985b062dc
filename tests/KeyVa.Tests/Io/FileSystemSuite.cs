using System.Runtime.InteropServices;
using System.Text;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Io;

/// <summary>What every <see cref="IFileSystem"/> promises; run by each implementation.</summary>
public abstract class FileSystemSuite
{
    internal abstract IFileSystem FileSystem { get; }

    /// <summary>An existing, empty folder.</summary>
    internal abstract string Root { get; }

    private string At(string name) => $"{Root}/{name}";

    [Fact]
    public void WrittenBytesAreReadBack()
    {
        using StorageFile file = FileSystem.Create(At("a"));
        file.Write(0, "hello"u8);
        file.Write(10, "world"u8);
        Assert.Equal(15, file.Length);
        byte[] read = new byte[20];
        Assert.Equal(15, file.Read(0, read));
        Assert.Equal("hello\0\0\0\0\0world", Encoding.ASCII.GetString(read, 0, 15));
        Assert.Equal(2, file.Read(13, read));
        Assert.Equal(0, file.Read(15, read));
        Assert.Equal(0, file.Read(1000, read));
    }

    [Fact]
    public void ABytesModelAgreesUnderRandomOperations()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        var model = new List<byte>();
        using StorageFile file = FileSystem.Create(At("random"));
        for (int i = 0; i < 500; i++)
        {
            int offset = random.Next(20_000);
            switch (random.Next(5))
            {
                case 0:
                    CollectionsMarshal.SetCount(model, model.Count);
                    Resize(model, offset);
                    file.SetLength(offset);
                    break;
                case 1:
                    Resize(model, Math.Max(model.Count, offset));
                    file.Allocate(Math.Max(1, offset));
                    Resize(model, Math.Max(model.Count, 1));
                    break;
                default:
                    byte[] data = new byte[random.Next(9000)];
                    random.NextBytes(data);
                    if (data.Length > 0)
                    {
                        Resize(model, Math.Max(model.Count, offset + data.Length));
                        data.CopyTo(CollectionsMarshal.AsSpan(model)[offset..]);
                    }

                    WriteInPieces(file, offset, data, random);
                    break;
            }

            if (random.Next(10) == 0)
            {
                file.SyncData();
            }

            byte[] read = new byte[model.Count + 10];
            Assert.True(model.Count == file.Read(0, read), $"seed {seed}");
            Assert.True(CollectionsMarshal.AsSpan(model).SequenceEqual(read.AsSpan(0, model.Count)), $"seed {seed}");
        }
    }

    [Fact]
    public void AGatheredWriteOfMoreSegmentsThanOneCallTakesIsWhole()
    {
        using var buffer = new NativeBuffer();
        for (int i = 0; i < 5000; i++)
        {
            buffer.AppendUInt32((uint)i);
        }

        var segments = new WriteSegment[5000];
        for (int i = 0; i < segments.Length; i++)
        {
            segments[i] = new WriteSegment(buffer.Address + (4 * i), 4);
        }

        using StorageFile file = FileSystem.Create(At("gathered"));
        file.Write(3, segments);
        byte[] read = new byte[20_000];
        Assert.Equal(20_000, file.Read(3, read));
        Assert.True(buffer.Written.SequenceEqual(read));
    }

    [Fact]
    public void CreatingWhatExistsAndOpeningWhatDoesNotNamesThePath()
    {
        FileSystem.Create(At("a")).Dispose();
        StorageException exists = Assert.Throws<StorageException>(() => FileSystem.Create(At("a")));
        Assert.Equal(Posix.Exists, exists.Errno);
        Assert.Contains(At("a"), exists.Message, StringComparison.Ordinal);
        StorageException missing = Assert.Throws<StorageException>(() => FileSystem.Open(At("b"), writable: false));
        Assert.Equal(Posix.NoEntry, missing.Errno);
        Assert.Throws<StorageException>(() => FileSystem.DeleteFile(At("b")));
        Assert.Throws<StorageException>(() => FileSystem.Rename(At("b"), At("c")));
        Assert.Throws<StorageException>(() => FileSystem.List(At("b")));
        Assert.Throws<StorageException>(() => FileSystem.SyncDirectory(At("b")));
    }

    [Fact]
    public void AFileOpenedForReadingRefusesWrites()
    {
        FileSystem.Create(At("a")).Dispose();
        using StorageFile file = FileSystem.Open(At("a"), writable: false);
        Assert.Throws<StorageException>(() => file.Write(0, "x"u8));
        Assert.Throws<StorageException>(file.SyncData);
    }

    [Fact]
    public void FoldersAreMadeWithTheirParentsListedAndDeletedWhole()
    {
        FileSystem.CreateDirectory(At("x/y/z"));
        FileSystem.CreateDirectory(At("x/y/z"));
        FileSystem.Create(At("x/y/f")).Dispose();
        Assert.Equal(["f", "z"], FileSystem.List(At("x/y")).Order());
        Assert.True(FileSystem.DirectoryExists(At("x/y")));
        Assert.False(FileSystem.FileExists(At("x/y")));
        Assert.True(FileSystem.FileExists(At("x/y/f")));
        Assert.Throws<StorageException>(() => FileSystem.CreateDirectory(At("x/y/f")));
        FileSystem.SyncDirectory(At("x"));
        FileSystem.DeleteDirectory(At("x"));
        Assert.False(FileSystem.DirectoryExists(At("x")));
        Assert.Empty(FileSystem.List(Root));
    }

    [Fact]
    public void RenameReplacesInOneStepAndOpenHandlesKeepTheirFile()
    {
        using StorageFile old = FileSystem.Create(At("old"));
        old.Write(0, "old"u8);
        using (StorageFile created = FileSystem.Create(At("new")))
        {
            created.Write(0, "new"u8);
        }

        FileSystem.Rename(At("new"), At("old"));
        Assert.Equal(["old"], FileSystem.List(Root));
        using StorageFile file = FileSystem.Open(At("old"), writable: false);
        byte[] read = new byte[3];
        file.Read(0, read);
        Assert.Equal("new"u8, read);
        old.Read(0, read);
        Assert.Equal("old"u8, read);
    }

    [Fact]
    public void AHardLinkSharesBytesAndOutlivesTheFirstName()
    {
        using (StorageFile file = FileSystem.Create(At("a")))
        {
            Assert.True(FileSystem.TryHardLink(At("a"), At("b")));
            file.Write(0, "shared"u8);
        }

        Assert.Throws<StorageException>(() => FileSystem.TryHardLink(At("a"), At("b")));
        FileSystem.DeleteFile(At("a"));
        using StorageFile linked = FileSystem.Open(At("b"), writable: false);
        byte[] read = new byte[6];
        Assert.Equal(6, linked.Read(0, read));
        Assert.Equal("shared"u8, read);
    }

    [Fact]
    public void ALockIsExclusiveUntilReleased()
    {
        IDisposable? first = FileSystem.TryLock(At("LOCK"));
        Assert.NotNull(first);
        Assert.Null(FileSystem.TryLock(At("LOCK")));
        using (StorageFile file = FileSystem.Open(At("LOCK"), writable: false))
        {
            byte[] holder = new byte[32];
            int length = file.Read(0, holder);
            Assert.Equal($"{Environment.ProcessId}\n", Encoding.ASCII.GetString(holder, 0, length));
        }

        first.Dispose();
        using IDisposable? second = FileSystem.TryLock(At("LOCK"));
        Assert.NotNull(second);
    }

    [Fact]
    public void FreeBytesAreReported() => Assert.True(FileSystem.FreeBytes(Root) > 0);

    private static void Resize(List<byte> model, int length)
    {
        int before = model.Count;
        CollectionsMarshal.SetCount(model, length);
        if (length > before)
        {
            CollectionsMarshal.AsSpan(model)[before..].Clear();
        }
    }

    private static unsafe void WriteInPieces(StorageFile file, long offset, byte[] data, Random random)
    {
        fixed (byte* start = data)
        {
            var segments = new List<WriteSegment>();
            for (int done = 0; done < data.Length;)
            {
                int part = Math.Min(data.Length - done, random.Next(3000));
                segments.Add(new WriteSegment((nint)start + done, part));
                done += part;
            }

            file.Write(offset, CollectionsMarshal.AsSpan(segments));
        }
    }
}

public sealed class DiskFileSystemTests : FileSystemSuite, IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("keyva").FullName;

    internal override IFileSystem FileSystem => DiskFileSystem.Instance;

    internal override string Root => _root;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void AFullDeviceIsAnErrorOfItsOwn()
    {
        using StorageFile full = FileSystem.Open("/dev/full", writable: true);
        StorageFullException error = Assert.Throws<StorageFullException>(() => full.Write(0, "x"u8));
        Assert.Contains("/dev/full", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AFailedSyncIsNeverRetriedAsIfNothingHappened()
    {
        // fdatasync on a device that has none: EINVAL, a failure as good as any.
        using StorageFile device = FileSystem.Open("/dev/null", writable: true);
        StorageException first = Assert.Throws<StorageException>(device.SyncData);
        StorageException second = Assert.Throws<StorageException>(() => device.Write(0, "x"u8));
        Assert.Equal(first.Errno, second.Errno);
        Assert.Contains("after a failed sync", second.Message, StringComparison.Ordinal);
    }
}
