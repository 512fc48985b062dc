using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The first blocks of a table, held back until there are enough of them to train the table's dictionary, or the table
/// ends. One thread.
/// </summary>
internal sealed unsafe class DictionarySamples(int dictionaryBytes) : IDisposable
{
    /// <summary>Sample bytes per byte of dictionary: what Zstandard's manual recommends.</summary>
    public const int SampleFactor = 100;

    /// <summary>Bytes held back at most, but for the last block.</summary>
    public const int MaxSampleBytes = 4 << 20;

    private readonly NativeBuffer _blocks = new();
    private readonly NativeBuffer _lengths = new();

    public int Count => _lengths.Length / sizeof(nuint);

    public int Bytes => _blocks.Length;

    public bool IsFull => _blocks.Length >= Math.Min(MaxSampleBytes, (long)SampleFactor * dictionaryBytes);

    public void Add(ReadOnlySpan<byte> block)
    {
        _blocks.Append(block);
        _lengths.AppendInt64(block.Length);
    }

    /// <summary>The length of the i-th block; they lie behind one another in <see cref="Blocks"/>.</summary>
    public int Length(int i) => (int)MemoryMarshal.Cast<byte, nuint>(_lengths.Written)[i];

    public ReadOnlySpan<byte> Blocks => _blocks.Written;

    /// <summary>Trains a dictionary; false if the samples give none (too few, or nothing in common).</summary>
    public bool TryTrain(NativeBuffer dictionary)
    {
        dictionary.Clear();
        nuint length;
        fixed (byte* target = dictionary.Append(dictionaryBytes))
        {
            length = Zstd.Train(target, (nuint)dictionaryBytes, (byte*)_blocks.Address, (nuint*)_lengths.Address, (uint)Count);
        }

        bool trained = Zstd.IsTrainingError(length) == 0;
        dictionary.Truncate(trained ? (int)length : 0);
        return trained;
    }

    public void Dispose()
    {
        _blocks.Dispose();
        _lengths.Dispose();
    }
}
