using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>Value files and references from hostile bytes: read as they were written, or refused.</summary>
public sealed class ValueFileFuzzTests : Fuzzing
{
    private const string FilePath = "/v/000001.val";
    private static readonly byte[] Key = "key"u8.ToArray();
    private static readonly byte[] Value = [.. Enumerable.Range(0, 300).Select(i => (byte)(i / 20))];
    private static readonly (byte[] File, ValueReference Last) Plain = Write(Compression.None);
    private static readonly byte[][] WholeFiles = [Plain.File, Write(Compression.Lz4).File, []];

    [Fact]
    public void FilesAreReadOrRefused() => Run(20_000, WholeFiles, static (input, _) =>
    {
        MemoryFileSystem files = new();
        files.CreateDirectory("/v");
        using (StorageFile file = files.Create(FilePath))
        {
            file.Write(0, input);
        }

        Epochs.Enter();
        try
        {
            long intact = ValueFileVerifier.Verify(files, FilePath, null, static _ => { }, CancellationToken.None);
            Assert.InRange(intact, 0, input.Length / ValueRecord.HeadBytes);
            using BlockCache cache = new(1 << 16);
            using ValueFileReader reader = ValueFileReader.Open(files.Open(FilePath, writable: false), cache, CompressionLibraries.Installed);
            Assert.True(reader.Read(Plain.Last, Key, 7).SequenceEqual(Value));
        }
        catch (StoreException refused) when (refused is not StorageException)
        {
            Assert.Contains(FilePath, refused.Message, StringComparison.Ordinal);
        }
        finally
        {
            Epochs.Exit();
        }
    });

    [Fact]
    public void ReferencesAreReadOrRefused() => Run(60_000, [Encoded(Plain.Last), Encoded(new ValueReference(1 << 20, 77, 1L << 40, 5000, 4096)), []], static (input, _) =>
    {
        if (ValueReference.TryDecode(input, out ValueReference read))
        {
            Assert.True(read.RecordLength is >= 0 and <= ValueRecord.MaxBytes && read.ValueLength is >= 0 and <= Limits.MaxValueBytesCeiling);
            Assert.True(read.File >= 0 && read.Ordinal >= 0 && read.Offset >= 0);
            Assert.True(ValueReference.TryDecode(Encoded(read), out ValueReference again));
            Assert.Equal(read, again);
        }
    });

    private static byte[] Encoded(ValueReference reference)
    {
        byte[] bytes = new byte[ValueReference.MaxBytes];
        return bytes[..reference.Encode(bytes)];
    }

    private static (byte[] File, ValueReference Last) Write(Compression compression)
    {
        MemoryFileSystem files = new();
        files.CreateDirectory("/v");
        ValueReference last;
        using (ValueFileWriter writer = new(files.Create(FilePath), compression, new EngineOptions()))
        {
            writer.Add("a"u8, 3, Value.AsSpan(0, 100));
            last = writer.Add(Key, 7, Value);
            writer.Finish();
        }

        using StorageFile file = files.Open(FilePath, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return (bytes, last);
    }
}
