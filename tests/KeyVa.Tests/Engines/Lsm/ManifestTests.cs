using KeyVa.Engines.Lsm;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

public sealed class ManifestTests
{
    [Fact]
    public void ATornTailIsCutAndDamageBeforeItIsRefused()
    {
        byte[] bytes = SomeManifest(out int lastRecord);
        ManifestState whole = Manifest.Replay(bytes, "m");
        Assert.False(whole.TailWasTorn);
        int seal = lastRecord + 8 + BitConverter.ToInt32(bytes, lastRecord);
        Assert.InRange(seal, lastRecord + 9, bytes.Length - 9);
        for (int length = lastRecord + 1; length < bytes.Length; length++)
        {
            ManifestState cut = Manifest.Replay(bytes.AsSpan(0, length), "m");
            Assert.Equal(length != seal, cut.TailWasTorn);
            Assert.Equal(length < seal, cut.Mark.Index < whole.Mark.Index);
        }

        // The last edit too: the seal behind it shows that it was synced.
        for (int at = 0; at < seal; at++)
        {
            byte[] damaged = [.. bytes];
            damaged[at] ^= 0x10;
            CorruptionException found = Assert.Throws<CorruptionException>(() => Manifest.Replay(damaged, "m"));
            Assert.Equal("m", found.File);
        }
    }

    [Fact]
    public void ALongManifestStartsOver()
    {
        MemoryFileSystem files = new();
        files.CreateDirectory("/m");
        ManifestState state = new();
        using Manifest manifest = Manifest.Create(files, "/m", state);
        long mark = 0;
        while (!manifest.WantsRewrite)
        {
            ManifestEdit edit = new() { Mark = new LogMark(++mark, mark, mark) };
            edit.Added.Add(new ManifestTable(0, mark + 100, 1, new TableProperties { Smallest = new byte[2000], Largest = new byte[2000] }));
            if (mark > 1)
            {
                edit.Removed.Add((0, mark + 99));
            }

            manifest.Append(edit);
            Assert.True(state.TryApply(edit));
        }

        Assert.True(manifest.Bytes > Manifest.RewriteBytes);
        files.Capacity = files.Used + 1000;
        Assert.False(manifest.TryRewrite(state));
        files.Capacity = long.MaxValue;
        Assert.True(manifest.TryRewrite(state));
        Assert.True(manifest.Bytes < 10_000);
        manifest.Append(new ManifestEdit { Mark = new LogMark(mark + 1, mark + 1, mark + 1) });
        ManifestState read = Manifest.Read(files.Crash(1), "/m")!;
        Assert.Equal(mark + 1, read.Mark.Index);
        Assert.Equal(mark + 100, Assert.Single(read.Tables).Key);
    }

    [Fact]
    public void AnEngineWithoutItsCurrentFileIsDamaged()
    {
        using LsmFixture fixture = new();
        fixture.Put("a", "1");
        fixture.Flush();
        string folder = LsmFixture.Directory;
        MemoryFileSystem files = fixture.Files;
        byte[] current = ReadFile(files, $"{folder}/CURRENT");
        files.DeleteFile($"{folder}/CURRENT");
        Assert.Throws<CorruptionException>(() => Manifest.Read(files, folder));
        for (int at = 0; at < current.Length; at++)
        {
            byte[] damaged = [.. current];
            damaged[at] ^= 0x01;
            using (StorageFile file = files.Create($"{folder}/CURRENT"))
            {
                file.Write(0, damaged);
            }

            Assert.Throws<CorruptionException>(() => Manifest.Read(files, folder));
            files.DeleteFile($"{folder}/CURRENT");
        }

        using (StorageFile file = files.Create($"{folder}/CURRENT"))
        {
            file.Write(0, current);
        }

        string table = fixture.Engine.Versions.Current.Tables.Single().Path;
        fixture.Engine.Dispose();
        files.DeleteFile(table);
        CorruptionException missing = Assert.Throws<CorruptionException>(() => fixture.Open());
        Assert.Equal(table, missing.File);
    }

    private static byte[] SomeManifest(out int lastRecord)
    {
        MemoryFileSystem files = new();
        files.CreateDirectory("/m");
        ManifestState state = new();
        using Manifest manifest = Manifest.Create(files, "/m", state);
        lastRecord = 0;
        for (int i = 1; i <= 4; i++)
        {
            lastRecord = (int)manifest.Bytes;
            ManifestEdit edit = new() { Mark = new LogMark(i, i * 10, i * 100), NextId = i + 10 };
            edit.Added.Add(new ManifestTable(0, i, 1000, new TableProperties { Smallest = [1], Largest = [2, (byte)i] }));
            manifest.Append(edit);
        }

        string name = files.List("/m").Single(file => FileNames.TryParseManifest(file, out _));
        return ReadFile(files, $"/m/{name}");
    }

    private static byte[] ReadFile(MemoryFileSystem files, string path)
    {
        using StorageFile file = files.Open(path, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }
}
