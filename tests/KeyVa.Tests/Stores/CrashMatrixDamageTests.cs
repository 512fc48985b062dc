using KeyVa.Io;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Stores;

/// <summary>
/// Every byte of every file of a small store changed in turn, every file cut and deleted in turn: whatever happens is found
/// and named, and nothing that was not written is ever read. <c>KEYVA_EVERY_BIT=1</c> changes all eight bits of each byte
/// and opens the store each time (make torture).
/// </summary>
public sealed class CrashMatrixDamageTests(ITestOutputHelper output)
{
    private static readonly bool EveryBit = System.Environment.GetEnvironmentVariable("KEYVA_EVERY_BIT") is { Length: > 0 };

    /// <summary>Of places that look alike (zeros of a segment never used), one in so many is looked at.</summary>
    private static readonly int ZerosStep = EveryBit ? 8 : 61;

    /// <summary>Of all places, one in so many is also opened and read.</summary>
    private static readonly int OpenStep = EveryBit ? 1 : 19;

    private const long MostAllocated = 64L << 20;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AFlippedBitAnywhereIsFoundAndNamedAndNeverReadAsData(bool killed)
    {
        FolderImage image = SmallStore.Image(killed);
        int seed = System.Environment.TickCount;
        Random random = new(seed);
        int flips = 0;
        int opened = 0;
        int tails = 0;
        foreach (string path in image.Files)
        {
            MemoryFileSystem files = image.Write();
            foreach (long offset in Places(image[path]))
            {
                foreach (int bit in EveryBit ? Enumerable.Range(0, 8) : [random.Next(8)])
                {
                    byte mask = (byte)(1 << bit);
                    try
                    {
                        files.Corrupt(path, offset, mask);
                        bool isTail = CheckFound(files, path, offset, killed);
                        tails += isTail ? 1 : 0;
                        if (++flips % OpenStep == 0)
                        {
                            opened++;
                            CheckReads(image.Write((other, bytes) => other == path ? Flipped(bytes, offset, mask) : bytes), mayLose: isTail);
                        }
                    }
                    catch (Exception failure)
                    {
                        throw new InvalidOperationException($"{path} offset {offset} mask {mask} of {image[path].Length} bytes, seed {seed}: {failure.Message}", failure);
                    }
                    finally
                    {
                        files.Corrupt(path, offset, mask);
                    }
                }
            }

            Assert.Empty(SmallStore.Verify(files));
        }

        output.WriteLine($"{flips} flips in {image.Files.Count} files, {opened} opened, {tails} taken for a tail");
        Assert.True(flips > 10_000);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AFileCutAnywhereIsFoundOrWasATail(bool killed)
    {
        FolderImage image = SmallStore.Image(killed);
        int seed = System.Environment.TickCount;
        Random random = new(seed);
        foreach (string path in image.Files.Where(path => image[path].Length > 0))
        {
            int used = image[path].AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
            int[] lengths = [0, 1, used - 1, used / 2, .. Enumerable.Range(0, EveryBit ? 200 : 12).Select(_ => random.Next(image[path].Length))];
            foreach (int length in lengths.Where(static length => length >= 0))
            {
                try
                {
                    MemoryFileSystem Cut() => image.Write((other, bytes) => other == path ? bytes[..length] : bytes);
                    List<string> notes = [];
                    bool found = SmallStore.Verify(Cut(), notes).Count > 0;
                    bool mayLose = !found && MayBeTail(path);
                    Assert.True(found || MayBeTail(path) || IsWithoutMeaning(path), "nothing was found");
                    CheckReads(Cut(), mayLose);
                }
                catch (Exception failure)
                {
                    throw new InvalidOperationException($"{path} cut to {length} of {image[path].Length} bytes ({used} used), seed {seed}: {failure.Message}", failure);
                }
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ADeletedFileIsNamedOrNothingIsLost(bool killed)
    {
        FolderImage image = SmallStore.Image(killed);
        foreach (string path in image.Files)
        {
            MemoryFileSystem Without() => image.Write((other, bytes) => other == path ? null : bytes);
            bool found = SmallStore.Verify(Without()).Count > 0;
            try
            {
                using MemoryStore store = new(Without());
                Assert.Equal(0, SmallStore.Read(store.Store, mayLose: false));
                Assert.False(found, "verify finds damage, and yet all is there");
            }
            catch (CorruptionException damage)
            {
                Assert.True(found, $"{path}: opening is refused ({damage.Message}), verify finds nothing");
                Assert.StartsWith(SmallStore.Directory, damage.File, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void TheReserveIsReadToo()
    {
        MemoryFileSystem files = SmallStore.Image(killed: false).Write();
        using (StorageFile reserve = files.Create($"{SmallStore.Directory}/journal/reserve"))
        {
            reserve.SetLength(3 << 20);
        }

        Assert.Empty(SmallStore.Verify(files));
        files.Corrupt($"{SmallStore.Directory}/journal/reserve", (2 << 20) + 77, 4);
        CorruptionException damage = Assert.Single(SmallStore.Verify(files));
        Assert.Equal(("/data/journal/reserve", (2L << 20) + 77), (damage.File, damage.Offset));
    }

    /// <summary>True if it was taken for a tail that a crash left.</summary>
    private static bool CheckFound(MemoryFileSystem files, string path, long offset, bool killed)
    {
        List<string> notes = [];
        long before = GC.GetAllocatedBytesForCurrentThread();
        IReadOnlyList<CorruptionException> damages = SmallStore.Verify(files, notes);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MostAllocated);
        if (path.EndsWith("/" + StoreOpening.LockName, StringComparison.Ordinal))
        {
            return false;
        }

        if (damages.Count > 0)
        {
            CorruptionException? named = damages.FirstOrDefault(damage => damage.File == path);
            Assert.True(named is not null, $"the damage is looked for in {damages[0].File}: {damages[0].Message}");
            Assert.InRange(named.Offset, 0, offset);
            return false;
        }

        Assert.True(MayBeTail(path), "nothing was found");
        Assert.True(notes.Exists(note => note.Contains(path, StringComparison.Ordinal)), $"not named: {string.Join('\n', notes)}");
        return killed;
    }

    private static bool MayBeTail(string path) =>
        path.EndsWith(".journal", StringComparison.Ordinal) || path.Contains("MANIFEST-", StringComparison.Ordinal);

    private static bool IsWithoutMeaning(string path) => path.EndsWith("/LOCK", StringComparison.Ordinal);

    private static void CheckReads(MemoryFileSystem files, bool mayLose)
    {
        try
        {
            using MemoryStore store = new(files);
            SmallStore.Read(store.Store, mayLose);
        }
        catch (CorruptionException damage)
        {
            Assert.StartsWith(SmallStore.Directory, damage.File, StringComparison.Ordinal);
        }
    }

    private static IEnumerable<long> Places(byte[] bytes)
    {
        int used = bytes.AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
        for (long offset = 0; offset < bytes.Length; offset += offset < used ? 1 : ZerosStep)
        {
            yield return offset;
        }
    }

    private static byte[] Flipped(byte[] bytes, long offset, byte mask)
    {
        byte[] flipped = [.. bytes];
        flipped[offset] ^= mask;
        return flipped;
    }

    /// <summary>A store that is closed whatever state its disk is in.</summary>
    private sealed class MemoryStore(MemoryFileSystem files) : IDisposable
    {
        public Store Store { get; } = SmallStore.Open(files);

        public void Dispose()
        {
            try
            {
                Store.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }
            catch (StoreException)
            {
                // What stopped it comes up again.
            }
        }
    }
}
