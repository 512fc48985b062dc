using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Engines.Memory;

/// <summary>
/// Copies what is intact of a memory engine's newest checkpoint into another folder: all of it, or the blocks whose
/// checksums fit. One thread.
/// </summary>
internal sealed class CheckpointSalvage(IFileSystem files, string source, string target, RepairLog log)
{
    private long _version;
    private long _stamp;
    private long _keys;
    private bool _withHistory;

    public void Run(CancellationToken cancellation)
    {
        files.CreateDirectory(target);
        CheckMissing();
        long index = CheckpointFolder.NewestIndex(files, source);
        if (index < 0)
        {
            return;
        }

        string name = CheckpointFolder.NameOf(index);
        string path = Path.Combine(source, name);
        CorruptionException? damage = CheckpointFolder.FindDamage(files, path, cancellation);
        if (damage is null)
        {
            log.FilesKept++;
            LinkOrCopy(path, Path.Combine(target, name));
        }
        else
        {
            log.Damages.Add(damage);
            log.FilesSalvaged++;
            Salvage(path, index, Path.Combine(target, name), cancellation);
        }

        files.SyncDirectory(target);
        CheckpointFolder.WriteCurrent(files, target, name);
    }

    private void CheckMissing()
    {
        try
        {
            long named = CheckpointFolder.ReadCurrent(files, source);
            if (named > CheckpointFolder.NewestIndex(files, source))
            {
                string missing = Path.Combine(source, CheckpointFolder.NameOf(named));
                log.Damages.Add(new CorruptionException(missing, 0, $"the checkpoint that {CheckpointFolder.CurrentName} names is missing"));
                log.Lose(missing, 0, $"the checkpoint up to index {named} is missing; an older one and the journal are all there is");
            }
        }
        catch (CorruptionException damage)
        {
            log.Damages.Add(damage);
        }
    }

    private void Salvage(string path, long index, string to, CancellationToken cancellation)
    {
        using StorageFile file = files.Open(path, writable: false);
        CheckpointHeader? header = ReadHeader(file, out _withHistory);
        long expected = ReadKeys(file);

        // What the header must say is known only at the end where it is lost: then the blocks are gone through twice.
        if (header is null)
        {
            ReadBlocks(file, writer: null, path, cancellation);
        }

        using StorageFile copy = files.Create(to);
        using CheckpointWriter writer = new(copy, header is { } found ? found with { Index = index } : new CheckpointHeader(index, _version, _stamp) { History = _withHistory ? new HistoryMark(_version, 0, 0) : null });
        _keys = 0;
        ReadBlocks(file, writer, path, cancellation);
        writer.Complete();
        copy.Sync();
        if (expected < 0 || expected > _keys)
        {
            log.Lose(path, 0, expected < 0 ? "the checkpoint's blocks may not be complete: its end is lost" : $"{expected - _keys} of {expected} keys of the checkpoint", expected < 0 ? null : expected - _keys);
        }
    }

    private void ReadBlocks(StorageFile file, CheckpointWriter? writer, string path, CancellationToken cancellation)
    {
        using NativeBuffer block = new(CheckpointFormat.BlockBytes * 2);
        long end = file.Length;
        long hole = -1;
        for (long at = CheckpointFormat.HeaderBytes; at < end;)
        {
            cancellation.ThrowIfCancellationRequested();
            if (ReadBlock(file, at, block) is { } entries)
            {
                if (hole >= 0 && writer is not null)
                {
                    log.Lose(path, hole, $"no intact block in {at - hole} bytes");
                }

                hole = -1;
                Take(block.Written, entries, writer);
                at += CheckpointFormat.BlockHeaderBytes + block.Length;
            }
            else if (IsFooter(file, at))
            {
                break;
            }
            else
            {
                hole = hole < 0 ? at : hole;
                at++;
            }
        }

        if (hole >= 0 && writer is not null)
        {
            log.Lose(path, hole, "no intact block from here on");
        }
    }

    /// <summary>The entries of the block that begins here, in the buffer; null if none does.</summary>
    private static uint? ReadBlock(StorageFile file, long at, NativeBuffer block)
    {
        Span<byte> header = stackalloc byte[CheckpointFormat.BlockHeaderBytes];
        if (file.Read(at, header) != header.Length)
        {
            return null;
        }

        uint length = BinaryPrimitives.ReadUInt32LittleEndian(header);
        uint entries = BinaryPrimitives.ReadUInt32LittleEndian(header[4..]);
        if (length == 0 || length > CheckpointFormat.MaxBlockBytes || length > file.Length - at || entries == 0 || entries > length / 5)
        {
            return null;
        }

        block.Clear();
        Span<byte> payload = block.Append((int)length);
        return file.Read(at + CheckpointFormat.BlockHeaderBytes, payload) == payload.Length
            && Crc32C.Extend(Crc32C.Compute(header[..8]), payload) == BinaryPrimitives.ReadUInt32LittleEndian(header[8..])
                ? entries
                : null;
    }

    private void Take(ReadOnlySpan<byte> block, uint entries, CheckpointWriter? writer)
    {
        using SalvagedEntry entry = new();
        for (; entries > 0 && entry.TryRead(ref block, _withHistory); entries--)
        {
            _version = Math.Max(_version, entry.Version);
            _stamp = Math.Max(_stamp, entry.Stamp);
            _keys++;
            writer?.Add(entry.Key, entry.Value, entry.IsRemoval, entry.Version, entry.Stamp, entry.ExpiresAt);
        }
    }

    private static bool IsFooter(StorageFile file, long at)
    {
        Span<byte> footer = stackalloc byte[8];
        return at == file.Length - CheckpointFormat.FooterBytes && file.Read(at, footer) == 8
            && (BinaryPrimitives.ReadUInt32LittleEndian(footer) == 0 || BinaryPrimitives.ReadUInt32LittleEndian(footer[4..]) == CheckpointFormat.FooterMagic);
    }

    /// <summary>The header, if it is intact. Blocks with history are told apart by it, damaged or not.</summary>
    private static CheckpointHeader? ReadHeader(StorageFile file, out bool withHistory)
    {
        Span<byte> header = stackalloc byte[CheckpointFormat.HeaderBytes];
        header.Clear();
        bool read = file.Read(0, header) == header.Length;
        withHistory = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]) == CheckpointFormat.VersionWithHistory;
        if (!read || BinaryPrimitives.ReadUInt32LittleEndian(header[60..]) != Crc32C.Compute(header[..60]))
        {
            return null;
        }

        // Blocks may be lost, and with them versions: only what is the newest can be relied on.
        CheckpointHeader whole = CheckpointReader.Decode(header);
        return whole.History is null ? whole : whole with { History = new HistoryMark(whole.Version, 0, 0) };
    }

    /// <summary>How many keys the footer speaks of; -1 if it is lost.</summary>
    private static long ReadKeys(StorageFile file)
    {
        Span<byte> footer = stackalloc byte[CheckpointFormat.FooterBytes];
        long at = file.Length - footer.Length;
        return at > 0 && file.Read(at, footer) == footer.Length && BinaryPrimitives.ReadUInt32LittleEndian(footer[36..]) == Crc32C.Compute(footer[..36])
            ? BinaryPrimitives.ReadInt64LittleEndian(footer[16..])
            : -1;
    }

    private void LinkOrCopy(string from, string to)
    {
        if (files.TryHardLink(from, to))
        {
            return;
        }

        using StorageFile original = files.Open(from, writable: false);
        using StorageFile copy = files.Create(to);
        using NativeBuffer buffer = new(1 << 20);
        Span<byte> piece = buffer.Append(1 << 20);
        long at = 0;
        for (int read; (read = original.Read(at, piece)) > 0; at += read)
        {
            copy.Write(at, piece[..read]);
        }

        copy.Sync();
    }

    /// <summary>One entry, in the form that the writer of checkpoints takes.</summary>
    private sealed class SalvagedEntry : EngineCursor
    {
        private byte[] _key = [];
        private byte[] _value = [];
        private long _version;
        private long _stamp;
        private long _expiresAt;

        public override ReadOnlySpan<byte> Key => _key;

        public override ReadOnlySpan<byte> Value => _value;

        public override long Version => _version;

        public override long Stamp => _stamp;

        public override long ExpiresAt => _expiresAt;

        public bool IsRemoval { get; private set; }

        public bool TryRead(ref ReadOnlySpan<byte> rest, bool withHistory)
        {
            Span<ulong> numbers = stackalloc ulong[5];
            foreach (ref ulong number in numbers)
            {
                int read = Varint.Read(rest, out number);
                if (read == 0)
                {
                    return false;
                }

                rest = rest[read..];
            }

            IsRemoval = withHistory && numbers[1] == 0;
            numbers[1] -= withHistory && !IsRemoval ? 1UL : 0;
            if (numbers[0] is 0 or > ushort.MaxValue || numbers[0] > (ulong)rest.Length || numbers[1] > (ulong)rest.Length - numbers[0])
            {
                return false;
            }

            _key = rest[..(int)numbers[0]].ToArray();
            _value = rest.Slice((int)numbers[0], (int)numbers[1]).ToArray();
            rest = rest[(_key.Length + _value.Length)..];
            (_version, _stamp, _expiresAt) = ((long)numbers[2], (long)numbers[3], (long)numbers[4]);
            return true;
        }

        public override bool MoveNext() => false;

        public override void Seek(ReadOnlySpan<byte> key)
        {
        }

        public override void Dispose()
        {
        }
    }
}
