using System.Text;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>Value files byte by byte: what is written is read, and what is damaged is found, named and never returned.</summary>
public sealed class ValueFileTests
{
    private const string FilePath = "/v/000001.val";

    [Theory]
    [InlineData(Compression.None)]
    [InlineData(Compression.Lz4)]
    [InlineData(Compression.Snappy)]
    [InlineData(Compression.Zstandard)]
    public void WhatIsWrittenIsRead(Compression compression)
    {
        (byte[] Key, long Version, byte[] Value)[] entries = Entries(seed: 1, count: 200, largest: 600_000);
        using Fixture fixture = new();
        ValueReference[] references = fixture.Write(entries, compression);
        using ValueFileReader reader = fixture.Open();
        Assert.Equal(entries.Length, reader.Footer.Records);
        for (int round = 0; round < 2; round++)
        {
            for (int i = 0; i < entries.Length; i++)
            {
                Epochs.Enter();
                Assert.True(reader.Read(references[i], entries[i].Key, entries[i].Version).SequenceEqual(entries[i].Value));
                Epochs.Exit();
            }
        }

        Assert.Empty(fixture.Verify(out long intact));
        Assert.Equal(entries.Length, intact);
    }

    [Fact]
    public void AnEntryThatLeadsToAnotherRecordIsFoundOut()
    {
        (byte[] Key, long Version, byte[] Value)[] entries = Entries(seed: 2, count: 3, largest: 300);
        using Fixture fixture = new();
        ValueReference[] references = fixture.Write(entries, Compression.None);
        using ValueFileReader reader = fixture.Open();
        Assert.Throws<CorruptionException>(() => Read(reader, references[0], entries[1].Key, entries[0].Version));
        Assert.Throws<CorruptionException>(() => Read(reader, references[0], entries[0].Key, entries[0].Version + 1));
        Assert.Throws<CorruptionException>(() => Read(reader, references[0] with { Ordinal = 3 }, entries[0].Key, entries[0].Version));
        Assert.Throws<CorruptionException>(() => Read(reader, references[0] with { Offset = references[0].Offset + 1 }, entries[0].Key, entries[0].Version));
        Assert.Throws<CorruptionException>(() => Read(reader, references[0] with { Offset = long.MaxValue }, entries[0].Key, entries[0].Version));
        Assert.Throws<CorruptionException>(() => Read(reader, references[0] with { RecordLength = 5 }, entries[0].Key, entries[0].Version));
        Assert.Throws<CorruptionException>(() => Read(reader, references[0] with { ValueLength = references[0].ValueLength + 1 }, entries[0].Key, entries[0].Version));
        Assert.Equal(entries[0].Value, Read(reader, references[0], entries[0].Key, entries[0].Version));
        Assert.Throws<CorruptionException>(() => Read(reader, references[0] with { ValueLength = 1 << 20 }, entries[0].Key, entries[0].Version));
    }

    [Theory]
    [InlineData(Compression.None)]
    [InlineData(Compression.Lz4)]
    public void EveryByteFlippedIsFoundNamedAndNeverReturned(Compression compression)
    {
        (byte[] Key, long Version, byte[] Value)[] entries = Entries(seed: 3, count: 6, largest: 200);
        using Fixture fixture = new();
        ValueReference[] references = fixture.Write(entries, compression);
        long length = fixture.Length;
        for (long at = 0; at < length; at++)
        {
            byte mask = (byte)(1 << (int)(at % 8));
            fixture.Files.Corrupt(FilePath, at, mask);
            List<CorruptionException> damages = fixture.Verify(out long intact);
            Assert.NotEmpty(damages);
            Assert.All(damages, damage => Assert.Equal(FilePath, damage.File));
            int hit = Array.FindIndex(references, reference => at >= reference.Offset && at < reference.Offset + reference.RecordLength);
            if (hit < 0)
            {
                Assert.Equal(entries.Length, intact);
                Assert.ThrowsAny<StoreException>(() => fixture.Open().Dispose());
            }
            else
            {
                Assert.Equal(references[hit].Offset, damages[0].Offset);
                using ValueFileReader reader = fixture.Open();
                Assert.Throws<CorruptionException>(() => Read(reader, references[hit], entries[hit].Key, entries[hit].Version));
                int other = hit == 0 ? 1 : 0;
                Assert.Equal(entries[other].Value, Read(reader, references[other], entries[other].Key, entries[other].Version));
            }

            fixture.Files.Corrupt(FilePath, at, mask);
        }

        Assert.Empty(fixture.Verify(out _));
    }

    [Fact]
    public void EveryByteFlippedInTheEngineIsFoundByVerifyAndNeverReturned()
    {
        using LsmFixture fixture = new(LsmFixture.SmallOptions with { SeparateValuesFrom = 64 });
        string value = new('v', 100);
        fixture.Put("a", value);
        fixture.Put("b", value);
        fixture.Flush();
        ValueFile file = Assert.Single(fixture.Engine.Versions.Current.Values.All);
        for (long at = 0; at < file.FileBytes; at++)
        {
            fixture.Files.Corrupt(file.Path, at, 0x40);
            Assert.Contains(fixture.Engine.Verify(CancellationToken.None), damage => damage.File == file.Path);
            try
            {
                fixture.Reopen();
                Assert.Equal(value, fixture.Get("a"));
                Assert.Equal(value, fixture.Get("b"));
                Assert.Fail($"byte {at} flipped was not noticed");
            }
            catch (StoreException damage)
            {
                Assert.Contains(Path.GetFileName(file.Path), damage.Message, StringComparison.Ordinal);
            }

            fixture.Files.Corrupt(file.Path, at, 0x40);
            fixture.Reopen();
            file = Assert.Single(fixture.Engine.Versions.Current.Values.All);
        }
    }

    [Fact]
    public void ReferencesAreReadOrRefused()
    {
        Span<byte> bytes = stackalloc byte[ValueReference.MaxBytes + 1];
        ValueReference reference = new(long.MaxValue, 1L << 40, 1L << 50, ValueRecord.MaxBytes, Limits.MaxValueBytesCeiling);
        int length = reference.Encode(bytes);
        Assert.True(ValueReference.TryDecode(bytes[..length], out ValueReference read));
        Assert.Equal(reference, read);
        Assert.False(ValueReference.TryDecode(bytes[..(length - 1)], out _));
        Assert.False(ValueReference.TryDecode(bytes[..(length + 1)], out _));
        length = (reference with { RecordLength = ValueRecord.MaxBytes + 1 }).Encode(bytes);
        Assert.False(ValueReference.TryDecode(bytes[..length], out _));
    }

    private static byte[] Read(ValueFileReader reader, ValueReference reference, byte[] key, long version)
    {
        Epochs.Enter();
        try
        {
            return reader.Read(reference, key, version).ToArray();
        }
        finally
        {
            Epochs.Exit();
        }
    }

    /// <summary>Half of the values shrink when compressed.</summary>
    private static (byte[] Key, long Version, byte[] Value)[] Entries(int seed, int count, int largest)
    {
        Random random = new(seed);
        var entries = new (byte[] Key, long Version, byte[] Value)[count];
        for (int i = 0; i < count; i++)
        {
            byte[] value = new byte[random.Next(20) == 0 ? largest : random.Next(64, 200)];
            if (i % 2 == 0)
            {
                random.NextBytes(value);
            }

            entries[i] = (Encoding.UTF8.GetBytes($"key{i}{new string('k', random.Next(30))}"), random.NextInt64(1, long.MaxValue), value);
        }

        return entries;
    }

    private sealed class Fixture : IDisposable
    {
        public Fixture() => Files.CreateDirectory("/v");

        public MemoryFileSystem Files { get; } = new();

        public BlockCache Cache { get; } = new(1 << 20);

        public long Length
        {
            get
            {
                using StorageFile file = Files.Open(FilePath, writable: false);
                return file.Length;
            }
        }

        public ValueReference[] Write((byte[] Key, long Version, byte[] Value)[] entries, Compression compression)
        {
            using ValueFileWriter writer = new(Files.Create(FilePath), compression, LsmFixture.SmallOptions);
            ValueReference[] references = [.. entries.Select(entry => writer.Add(entry.Key, entry.Version, entry.Value))];
            writer.Finish();
            return references;
        }

        public ValueFileReader Open() => ValueFileReader.Open(Files.Open(FilePath, writable: false), Cache, CompressionLibraries.Installed);

        public List<CorruptionException> Verify(out long intact)
        {
            List<CorruptionException> damages = [];
            intact = ValueFileVerifier.Verify(Files, FilePath, expected: null, damages.Add, CancellationToken.None);
            return damages;
        }

        public void Dispose() => Cache.Dispose();
    }
}
