import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.util.TreeSet;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

/** For each file named on standard input: flavour, verdict, broken rules, separated by tabs. */
public class VeraPdf {
    public static void main(String[] arguments) throws Exception {
        VeraGreenfieldFoundryProvider.initialise();
        BufferedReader names = new BufferedReader(new InputStreamReader(System.in));
        for (String name = names.readLine(); name != null; name = names.readLine()) {
            try (PDFAParser parser =
                    Foundries.defaultInstance().createParser(new FileInputStream(name))) {
                ValidationResult result =
                        Foundries.defaultInstance()
                                .createValidator(parser.getFlavour(), false)
                                .validate(parser);
                TreeSet<String> broken = new TreeSet<>();
                for (TestAssertion each : result.getTestAssertions()) {
                    if (each.getStatus() == TestAssertion.Status.FAILED) {
                        broken.add(each.getRuleId().getClause());
                    }
                }
                System.out.println(
                        parser.getFlavour() + "\t" + result.isCompliant() + "\t" + broken);
            }
        }
    }
}
