using System.CommandLine;
using System.Text.Json;

namespace KeyVa.Cli;

/// <summary><c>verify</c>. Stateless.</summary>
internal static class VerifyCommand
{
    public static Command Create(Session session)
    {
        Argument<string> directory = new("DIR") { Description = "A data folder or a snapshot, not in use" };
        return CommandTree.Command(
            session,
            "verify",
            "Read every byte of a data folder or snapshot on this machine and tell what is damaged. Exit code 5 if anything is",
            [directory],
            invocation => Task.FromResult(Run(invocation, invocation.Get(directory))));
    }

    private static int Run(Invocation invocation, string directory)
    {
        if (!Directory.Exists(directory))
        {
            throw CommandException.Usage(File.Exists(directory) ? $"'{directory}' is no folder" : $"there is no folder '{directory}'");
        }

        List<string> notes = [];
        IReadOnlyList<CorruptionException> damages = Store.Verify(directory, notes.Add, invocation.Cancellation);
        if (invocation.Json)
        {
            WriteJson(invocation, notes, damages);
        }
        else
        {
            WriteText(invocation, directory, notes, damages);
        }

        return damages.Count == 0 ? ExitCode.Done : ExitCode.Damage;
    }

    private static void WriteJson(Invocation invocation, List<string> notes, IReadOnlyList<CorruptionException> damages) =>
        invocation.WriteJson(json =>
        {
            json.WriteBoolean("ok"u8, damages.Count == 0);
            WriteDamages(json, damages);
            WriteNotes(json, notes);
        });

    /// <summary>Damages as objects: file, offset, detail.</summary>
    public static void WriteDamages(Utf8JsonWriter json, IReadOnlyList<CorruptionException> damages)
    {
        json.WriteStartArray("damages"u8);
        foreach (CorruptionException damage in damages)
        {
            json.WriteStartObject();
            json.WriteString("file"u8, damage.File);
            json.WriteNumber("offset"u8, damage.Offset);
            json.WriteString("detail"u8, damage.Detail);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>Remarks for the person who reads the report.</summary>
    public static void WriteNotes(Utf8JsonWriter json, IReadOnlyList<string> notes)
    {
        json.WriteStartArray("notes"u8);
        foreach (string note in notes)
        {
            json.WriteStringValue(note);
        }

        json.WriteEndArray();
    }

    private static void WriteText(Invocation invocation, string directory, List<string> notes, IReadOnlyList<CorruptionException> damages)
    {
        StreamWriter output = invocation.Terminal.Out;
        foreach (string note in notes)
        {
            output.WriteLine($"note: {note}");
        }

        foreach (CorruptionException damage in damages)
        {
            output.WriteLine($"damage: {damage.File} at offset {damage.Offset}: {damage.Detail}");
        }

        output.WriteLine(damages.Count switch
        {
            0 => $"{directory}: no damage found",
            1 => $"{directory}: 1 damage found; restore the folder from a snapshot, or save what is intact with 'keyva repair'",
            _ => $"{directory}: {damages.Count} damages found; restore the folder from a snapshot, or save what is intact with 'keyva repair'",
        });
    }
}
