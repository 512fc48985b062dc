using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>LCS: the table of Wagner and Fischer, walked back as Redis does (t_string.c, lcsCommand), so that of several answers it is the same one. Stateless.</summary>
internal static class LcsCommand
{
    /// <summary>The most bytes of the table; it stands in memory while the command runs.</summary>
    private const long MaxTableBytes = 64 << 20;

    public static void Run(DataCall call, RespCommand command)
    {
        byte[] a = call.ReadCopy(command[1], out _) ?? [];
        byte[] b = call.ReadCopy(command[2], out _) ?? [];
        if (!Options.TryParse(command, out Options options, out string? error))
        {
            call.Output.Error(error!);
            return;
        }

        long cells = (a.Length + 1L) * (b.Length + 1L);
        if (cells * sizeof(int) > MaxTableBytes)
        {
            call.Output.Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
            return;
        }

        int[] table = Fill(a, b);
        int length = table[^1];
        if (options.LengthAlone)
        {
            call.Output.Integer(length);
            return;
        }

        List<Match> matches = [];
        byte[] common = Walk(a, b, table, matches, options.MinLength);
        if (options.Indexes)
        {
            Reply(call.Output, matches, length, options.WithLengths);
        }
        else
        {
            call.Output.Bulk(common);
        }
    }

    private static int[] Fill(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        int width = b.Length + 1;
        int[] table = new int[(a.Length + 1) * width];
        for (int i = 1; i <= a.Length; i++)
        {
            for (int j = 1; j <= b.Length; j++)
            {
                table[(i * width) + j] = a[i - 1] == b[j - 1]
                    ? table[((i - 1) * width) + j - 1] + 1
                    : Math.Max(table[((i - 1) * width) + j], table[(i * width) + j - 1]);
            }
        }

        return table;
    }

    private static byte[] Walk(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b, int[] table, List<Match> matches, long minLength)
    {
        int width = b.Length + 1;
        int left = table[^1];
        byte[] common = new byte[left];
        Match? run = null;
        int i = a.Length;
        int j = b.Length;
        while (i > 0 && j > 0)
        {
            if (a[i - 1] == b[j - 1])
            {
                common[--left] = a[i - 1];
                bool extends = run is { } open && open.A == i && open.B == j;
                if (!extends)
                {
                    Note(matches, run, minLength);
                }

                run = extends ? new Match(i - 1, j - 1, run!.Value.Length + 1) : new Match(i - 1, j - 1, 1);
                i--;
                j--;
                continue;
            }

            if (table[((i - 1) * width) + j] > table[(i * width) + j - 1])
            {
                i--;
            }
            else
            {
                j--;
            }
        }

        Note(matches, run, minLength);
        return common;
    }

    private static void Note(List<Match> matches, Match? run, long minLength)
    {
        if (run is { } match && match.Length >= minLength)
        {
            matches.Add(match);
        }
    }

    private static void Reply(RespOutput output, List<Match> matches, int length, bool withLengths)
    {
        output.Map(2);
        output.Bulk("matches"u8);
        output.Array(matches.Count);
        foreach (Match match in matches)
        {
            output.Array(withLengths ? 3 : 2);
            Range(output, match.A, match.Length);
            Range(output, match.B, match.Length);
            if (withLengths)
            {
                output.Integer(match.Length);
            }
        }

        output.Bulk("len"u8);
        output.Integer(length);
    }

    private static void Range(RespOutput output, int from, int length)
    {
        output.Array(2);
        output.Integer(from);
        output.Integer(from + length - 1);
    }

    private readonly record struct Match(int A, int B, int Length);

    private readonly record struct Options(bool LengthAlone, bool Indexes, bool WithLengths, long MinLength)
    {
        public static bool TryParse(RespCommand command, out Options options, out string? error)
        {
            options = default;
            error = null;
            for (int i = 3; i < command.Count && error is null; i++)
            {
                ReadOnlySpan<byte> option = command[i];
                if (Ascii.EqualsIgnoreCase(option, "idx"u8))
                {
                    options = options with { Indexes = true };
                }
                else if (Ascii.EqualsIgnoreCase(option, "len"u8))
                {
                    options = options with { LengthAlone = true };
                }
                else if (Ascii.EqualsIgnoreCase(option, "withmatchlen"u8))
                {
                    options = options with { WithLengths = true };
                }
                else if (Ascii.EqualsIgnoreCase(option, "minmatchlen"u8) && i + 1 < command.Count)
                {
                    error = RespNumber.TryRead(command[++i], out long least) ? null : RespErrors.NoInteger;
                    options = options with { MinLength = Math.Max(0, least) };
                }
                else
                {
                    error = RespErrors.Syntax;
                }
            }

            if (error is null && options is { LengthAlone: true, Indexes: true })
            {
                error = "ERR If you want both the length and indexes, please just use IDX.";
            }

            return error is null;
        }
    }
}
