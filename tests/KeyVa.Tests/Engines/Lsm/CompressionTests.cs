using System.Buffers.Binary;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>Compressed blocks: what goes in comes out, and whatever else the bytes may be is damage, and nothing worse.</summary>
public sealed unsafe class CompressionTests
{
    private const uint AllKinds = 0b11111;

    public static TheoryData<Compression, int> Codecs => new()
    {
        { Compression.Lz4, 0 },
        { Compression.Snappy, 0 },
        { Compression.Zstandard, 0 },
        { Compression.Zstandard, 2048 },
    };

    [Theory]
    [MemberData(nameof(Codecs))]
    public void RandomBlocksComeBack(Compression codec, int dictionaryBytes)
    {
        var random = new Random(1);
        byte[] dictionary = Dictionary(dictionaryBytes);
        using BlockCompressor compressor = Compressor(codec, dictionary);
        using BlockDecompressor decompressor = Decompressor(dictionary);
        int compressed = 0;
        for (int i = 0; i < 2000; i++)
        {
            byte[] block = RandomBlock(random, random.Next(200) == 0 ? random.Next(2 << 20) : random.Next(1, 9000));
            byte kind = compressor.Compress(block, withDictionary: random.Next(4) > 0);
            if (kind == BlockFormat.NoCompression)
            {
                continue;
            }

            // Worth it by an eighth, the length in front counted.
            Assert.True(compressor.Output.Length <= block.Length - (block.Length / 8));
            Assert.Equal(block, Decompress(decompressor, compressor.Output.ToArray(), kind));
            compressed++;
        }

        Assert.InRange(compressed, 1000, 1999);
    }

    [Theory]
    [MemberData(nameof(Codecs))]
    public void WhatDoesNotShrinkIsStoredAsItIs(Compression codec, int dictionaryBytes)
    {
        var random = new Random(2);
        using BlockCompressor compressor = Compressor(codec, Dictionary(dictionaryBytes));
        foreach (int length in (int[])[0, 1, 4, 5, 8, 100, 4096, 70_000])
        {
            byte[] noise = new byte[length];
            random.NextBytes(noise);
            Assert.Equal(BlockFormat.NoCompression, compressor.Compress(noise, withDictionary: true));
        }

        // Between: noise that repeats itself in its last tenth saves less than an eighth.
        byte[] almost = new byte[10_000];
        random.NextBytes(almost.AsSpan(0, 9000));
        Assert.Equal(BlockFormat.NoCompression, compressor.Compress(almost, withDictionary: true));
        almost.AsSpan(5000).Clear();
        Assert.NotEqual(BlockFormat.NoCompression, compressor.Compress(almost, withDictionary: true));
    }

    [Theory]
    [MemberData(nameof(Codecs))]
    public void DamagedBlocksAreDamageAndNothingElse(Compression codec, int dictionaryBytes)
    {
        var random = new Random(3);
        byte[] dictionary = Dictionary(dictionaryBytes);
        using BlockCompressor compressor = Compressor(codec, dictionary);
        using BlockDecompressor decompressor = Decompressor(dictionary);
        byte[] block = RandomBlock(random, 3000);
        byte kind = compressor.Compress(block, withDictionary: true);
        byte[] good = compressor.Output.ToArray();
        Assert.NotEqual(BlockFormat.NoCompression, kind);
        int refused = 0;
        for (int i = 0; i < 60_000; i++)
        {
            // Every byte flipped and every length cut in turn, then anything at all; under every codec's number.
            byte[] damaged = i < good.Length ? [.. good] : i < 2 * good.Length ? good[..(i - good.Length)] : Mutate(random, good);
            if (i < good.Length)
            {
                damaged[i] ^= (byte)(1 << random.Next(8));
            }

            byte as_ = i < 2 * good.Length ? kind : (byte)random.Next(7);
            try
            {
                // No checksum here: some damage yields other bytes, but exactly as many as the block says.
                byte[] found = Decompress(decompressor, damaged, as_);
                Assert.Equal(BinaryPrimitives.ReadInt32LittleEndian(damaged), found.Length);
            }
            catch (CorruptionException)
            {
                refused++;
            }
        }

        Assert.True(refused > 10_000);
    }

    [Theory]
    [MemberData(nameof(Codecs))]
    public void ALengthThatCannotBeIsRefusedBeforeMemoryIsTaken(Compression codec, int dictionaryBytes)
    {
        byte[] dictionary = Dictionary(dictionaryBytes);
        using BlockCompressor compressor = Compressor(codec, dictionary);
        using BlockDecompressor decompressor = Decompressor(dictionary);
        byte[] block = new byte[4096];
        byte kind = compressor.Compress(block, withDictionary: true);
        byte[] stored = compressor.Output.ToArray();
        foreach (uint length in (uint[])[0, 1, 4095, 4097, 100_000, BlockDecompressor.MaxUncompressedBytes, BlockDecompressor.MaxUncompressedBytes + 1u, int.MaxValue, uint.MaxValue])
        {
            BinaryPrimitives.WriteUInt32LittleEndian(stored, length);
            CorruptionException damage = Assert.Throws<CorruptionException>(() => Decompress(decompressor, stored, kind));
            Assert.Equal(7, damage.Offset);
            if (length is 0 or > BlockDecompressor.MaxUncompressedBytes)
            {
                Assert.Contains("names the length", damage.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void ABlockWhoseCodecTheTableDoesNotNameIsDamage()
    {
        using BlockCompressor compressor = Compressor(Compression.Lz4, []);
        compressor.Compress(new byte[1000], withDictionary: false);
        using BlockDecompressor decompressor = new("t", 1u << (int)Compression.Snappy, default, 0, CompressionLibraries.Installed);
        Assert.Throws<CorruptionException>(() => Decompress(decompressor, compressor.Output.ToArray(), (byte)Compression.Lz4));
        Assert.Throws<CorruptionException>(() => Decompress(decompressor, compressor.Output.ToArray(), 200));
        Assert.Throws<CorruptionException>(() => new BlockDecompressor("t", 1u << BlockFormat.ZstandardWithDictionary, default, 0, CompressionLibraries.Installed));
    }

    [Fact]
    public void ATableWithADictionaryIsSmallerAndReadByManyThreads()
    {
        List<TableRow> rows = TableFile.RandomRows(11, 6000);
        EngineOptions options = new() { BlockBytes = 512, Compression = Compression.Zstandard };
        using TableFile without = new() { Options = options };
        using TableFile with = new() { Options = options with { ZstdDictionaryBytes = 4096 } };
        byte[] plain = without.Write(rows);
        byte[] trained = with.Write(rows);
        Assert.True(trained.Length < plain.Length * 9 / 10, $"{trained.Length} bytes with a dictionary, {plain.Length} without");
        Assert.Equal(rows, with.Read(trained));
        using TableReader reader = with.Open(trained);
        Assert.InRange(reader.Layout.Dictionary.Length, 256, 4096);
        Assert.Equal(1u << BlockFormat.ZstandardWithDictionary, reader.Layout.Compressions & (1u << BlockFormat.ZstandardWithDictionary));

        // More threads than idle contexts are kept.
        Parallel.For(0, 40, new ParallelOptions { MaxDegreeOfParallelism = 2 * ZstdContexts.MaxIdle }, _ =>
        {
            for (int ordinal = 0; ordinal < reader.DataBlocks; ordinal++)
            {
                reader.Locate(ordinal, out long offset, out int length);
                Block.Free(reader.ReadDataBlock(offset, length));
            }
        });
    }

    [Fact]
    public void ATableTooSmallForADictionaryHasNone()
    {
        using TableFile file = new() { Options = new EngineOptions { Compression = Compression.Zstandard, ZstdDictionaryBytes = 16 << 10 } };
        List<TableRow> rows = TableFile.RandomRows(12, 20);
        byte[] bytes = file.Write(rows);
        Assert.Equal(rows, file.Read(bytes));
        using TableReader reader = file.Open(bytes);
        Assert.False(reader.Layout.Dictionary.Exists);
    }

    [Theory]
    [MemberData(nameof(Codecs))]
    public void AFlippedBitAnywhereInACompressedTableIsFound(Compression codec, int dictionaryBytes)
    {
        var random = new Random(13);
        List<TableRow> rows = TableFile.RandomRows(13, 150);
        using TableFile file = new() { Options = new EngineOptions { BlockBytes = 512, Compression = codec, ZstdDictionaryBytes = dictionaryBytes } };
        byte[] good = file.Write(rows, maxIndexBytes: 400);
        Assert.Equal(rows, file.Read(good));
        for (int at = 0; at < good.Length; at++)
        {
            byte[] damaged = [.. good];
            damaged[at] ^= (byte)(1 << random.Next(8));
            Assert.Throws<CorruptionException>(() => file.Read(damaged));
        }
    }

    [Fact]
    public void ATableThatNeedsAMissingLibrarySaysWhich()
    {
        List<TableRow> rows = TableFile.RandomRows(14, 100);
        foreach ((Compression codec, CompressionLibraries without, string library, string package) in (ReadOnlySpan<(Compression, CompressionLibraries, string, string)>)[
            (Compression.Lz4, new CompressionLibraries(lz4: "liblz4-absent.so.1"), "liblz4-absent.so.1", "liblz4-1"),
            (Compression.Snappy, new CompressionLibraries(snappy: "libsnappy-absent.so.1"), "libsnappy-absent.so.1", "libsnappy1v5"),
            (Compression.Zstandard, new CompressionLibraries(zstd: "libzstd-absent.so.1"), "libzstd-absent.so.1", "libzstd1")])
        {
            EngineOptions options = new() { Compression = codec };
            using TableFile file = new() { Options = options };
            byte[] bytes = file.Write(rows);
            using TableFile missing = new() { Options = options with { CompressionLibraries = without } };
            foreach (StoreException refused in (StoreException[])[
                Assert.Throws<StoreException>(() => missing.Read(bytes)), Assert.Throws<StoreException>(() => missing.Write(rows)),
                Assert.Throws<StoreException>(() => without.Require(codec))])
            {
                Assert.Contains(library, refused.Message, StringComparison.Ordinal);
                Assert.Contains(package, refused.Message, StringComparison.Ordinal);
            }

            // The others are there.
            using TableFile plain = new() { Options = new EngineOptions { CompressionLibraries = without } };
            Assert.Equal(rows, plain.Read(plain.Write(rows)));
        }
    }

    [Fact]
    public void ALibraryThatIsTooOldCountsAsMissing()
    {
        // libc is there, and has no such function.
        StoreException refused = Assert.Throws<StoreException>(() => new CompressionLibraries(zstd: "libc.so.6").Require(Compression.Zstandard));
        Assert.Contains("too old", refused.Message, StringComparison.Ordinal);
    }

    private static BlockCompressor Compressor(Compression codec, byte[] dictionary)
    {
        BlockCompressor compressor = new(codec, 3, CompressionLibraries.Installed);
        if (dictionary.Length > 0)
        {
            compressor.UseDictionary(dictionary);
        }

        return compressor;
    }

    /// <summary>For every codec, so that any number of a codec can be tried on any bytes.</summary>
    private static BlockDecompressor Decompressor(byte[] dictionary) =>
        new("t", AllKinds, dictionary.Length > 0 ? dictionary : "some text"u8, 0, CompressionLibraries.Installed);

    private static byte[] Dictionary(int bytes)
    {
        if (bytes == 0)
        {
            return [];
        }

        var random = new Random(4);
        using DictionarySamples samples = new(bytes);
        while (!samples.IsFull)
        {
            samples.Add(RandomBlock(random, 1000));
        }

        using NativeBuffer dictionary = new();
        Assert.True(samples.TryTrain(dictionary));
        return dictionary.Written.ToArray();
    }

    private static byte[] Decompress(BlockDecompressor decompressor, byte[] stored, byte kind)
    {
        fixed (byte* p = stored)
        {
            // The target is watched on both sides.
            byte empty = 0;
            byte* source = p == null ? &empty : p;
            int length = decompressor.UncompressedLength(source, stored.Length, kind, 7);
            byte[] target = new byte[length + 64];
            Array.Fill(target, (byte)0xA5);
            fixed (byte* q = target)
            {
                try
                {
                    decompressor.Decompress(source, stored.Length, kind, 7, q + 32, length);
                }
                finally
                {
                    Assert.True(target.AsSpan(0, 32).IndexOfAnyExcept((byte)0xA5) < 0 && target.AsSpan(32 + length).IndexOfAnyExcept((byte)0xA5) < 0, "wrote beyond the target");
                }
            }

            return target[32..^32];
        }
    }

    private static byte[] RandomBlock(Random random, int length)
    {
        byte[] block = new byte[length];
        for (int at = 0; at < length;)
        {
            int piece = Math.Min(random.Next(1, 60), length - at);
            if (at > 0 && random.Next(4) > 0)
            {
                int from = random.Next(at);
                for (int i = 0; i < piece; i++)
                {
                    block[at + i] = block[from + (i % (at - from))];
                }
            }
            else if (random.Next(2) == 0)
            {
                "a value that comes again and again, in this block as in others"u8[..piece].CopyTo(block.AsSpan(at));
            }
            else
            {
                random.NextBytes(block.AsSpan(at, piece));
            }

            at += piece;
        }

        return block;
    }

    private static byte[] Mutate(Random random, byte[] good)
    {
        byte[] bytes = random.Next(3) == 0 ? [.. good, .. new byte[random.Next(50)]] : good[..random.Next(1, good.Length + 1)];
        for (int n = random.Next(1, 6); n > 0; n--)
        {
            // The length in front is mostly left alone, or everything would end there.
            int at = random.Next(8) == 0 ? random.Next(bytes.Length) : Math.Min(bytes.Length - 1, 4 + random.Next(bytes.Length));
            bytes[at] = (byte)random.Next(256);
        }

        return bytes;
    }
}
